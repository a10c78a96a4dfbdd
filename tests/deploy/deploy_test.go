// SPDX-License-Identifier: Apache-2.0

// Package deploy_test holds the deployment files against each other and against
// the binary they start.
package deploy_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

var update = flag.Bool("update", false, "write the configurations in the manifests anew from configs/")

const (
	user       = 10001
	healthPort = 13133
	healthPath = "/health/status"
	images     = "ghcr.io/pitwall-io/"
	version    = "0.1.0"
)

func deployDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(harness.Root(t), "deploy")
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{deployDir(t)}, elem...)...))
	require.NoError(t, err)
	return string(text)
}

// documents decodes every YAML document of a file.
func documents(t *testing.T, text string) []map[string]any {
	t.Helper()
	var found []map[string]any
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		found = append(found, document)
	}
}

// manifests is every document under deploy, by file.
func manifests(t *testing.T) map[string][]map[string]any {
	t.Helper()
	found := map[string][]map[string]any{}
	root := deployDir(t)
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[name] = documents(t, read(t, name))
		return err
	}))
	require.NotEmpty(t, found)
	return found
}

// at walks into a document; it returns nil where a step is missing.
func at(node any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := node.(map[string]any)
			node = object[step]
		case int:
			list, _ := node.([]any)
			if step >= len(list) {
				return nil
			}
			node = list[step]
		}
	}
	return node
}

// podSpec is the pod in a document, or nil.
func podSpec(document map[string]any) map[string]any {
	spec := at(document, "spec")
	if document["kind"] != "Pod" {
		spec = at(document, "spec", "template", "spec")
	}
	pod, _ := spec.(map[string]any)
	return pod
}

// collectors are the containers that run one of our images.
func collectors(pod map[string]any) []map[string]any {
	var found []map[string]any
	for _, kind := range []string{"initContainers", "containers"} {
		list, _ := pod[kind].([]any)
		for _, entry := range list {
			container, _ := entry.(map[string]any)
			if image, _ := container["image"].(string); strings.HasPrefix(image, images) {
				found = append(found, container)
			}
		}
	}
	return found
}

func environment(container map[string]any) map[string]string {
	found := map[string]string{}
	list, _ := container["env"].([]any)
	for _, entry := range list {
		name, _ := at(entry, "name").(string)
		value, _ := at(entry, "value").(string)
		found[name] = value
	}
	return found
}

func TestPodsAgreeOnUserPortsAndProbes(t *testing.T) {
	seen := 0
	for name, list := range manifests(t) {
		for _, document := range list {
			pod := podSpec(document)
			for _, container := range collectors(pod) {
				seen++
				t.Run(name, func(t *testing.T) {
					assert.Equal(t, user, at(pod, "securityContext", "runAsUser"))
					assert.Equal(t, user, at(pod, "securityContext", "runAsGroup"))
					assert.Equal(t, true, at(pod, "securityContext", "runAsNonRoot"))
					assert.Equal(t, true, at(container, "securityContext", "readOnlyRootFilesystem"))
					assert.Equal(t, false, at(container, "securityContext", "allowPrivilegeEscalation"))
					assert.Equal(t, []any{"ALL"}, at(container, "securityContext", "capabilities", "drop"))

					ports := map[string]int{}
					list, _ := container["ports"].([]any)
					for _, entry := range list {
						ports[at(entry, "name").(string)] = at(entry, "containerPort").(int)
					}
					env := environment(container)
					assert.Equal(t, "0.0.0.0:13133", env["PITWALL_HEALTH_ENDPOINT"], "the kubelet must reach it")
					assert.Equal(t, healthPort, ports["health"])
					assert.Regexp(t, `:4317$`, env["PITWALL_OTLP_GRPC_ENDPOINT"])
					assert.Regexp(t, `:4318$`, env["PITWALL_OTLP_HTTP_ENDPOINT"])
					for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
						assert.Equal(t, healthPath, at(container, probe, "httpGet", "path"))
						assert.Equal(t, "health", at(container, probe, "httpGet", "port"))
					}
					assertMounted(t, container, env["PITWALL_STATE_DIR"])
					assertMounted(t, container, "/etc/pitwall")
					args, _ := container["args"].([]any)
					require.GreaterOrEqual(t, len(args), 2)
					assert.Equal(t, []any{"--config", "/etc/pitwall/config.yaml"}, args[:2])
				})
			}
		}
	}
	assert.Equal(t, 4, seen, "agent, gateway, decider and the sidecar in a plain pod")
}

// assertMounted holds that a directory is a mount of the container. A
// read-only root would refuse to write to it otherwise.
func assertMounted(t *testing.T, container map[string]any, dir string) {
	t.Helper()
	list, _ := container["volumeMounts"].([]any)
	for _, entry := range list {
		if at(entry, "mountPath") == dir {
			return
		}
	}
	t.Errorf("%v: %s is not mounted", container["name"], dir)
}

func TestEveryImageIsOfTheSameVersion(t *testing.T) {
	image := regexp.MustCompile(regexp.QuoteMeta(images) + `([a-z-]+):([0-9.]+)`)
	seen := 0
	for name := range manifests(t) {
		for _, match := range image.FindAllStringSubmatch(read(t, name), -1) {
			seen++
			assert.Contains(t, []string{"pitwall", "pitwall-sidecar"}, match[1], name)
			assert.Equal(t, version, match[2], name)
		}
	}
	assert.Positive(t, seen)
	for _, values := range []string{"values-agent.yaml", "values-gateway.yaml", "values-decider.yaml"} {
		document := documents(t, read(t, "helm", values))[0]
		assert.Equal(t, images+"pitwall", at(document, "image", "repository"))
		assert.Equal(t, version, at(document, "image", "tag"))
		assert.Equal(t, "pitwall", at(document, "command", "name"))
		assert.Equal(t, user, at(document, "podSecurityContext", "runAsUser"))
		assert.Equal(t, healthPath, at(document, "readinessProbe", "httpGet", "path"))
	}
	for _, manifest := range []string{"builder-config.yaml", "builder-config.sidecar.yaml"} {
		text, err := os.ReadFile(filepath.Join(harness.Root(t), manifest))
		require.NoError(t, err)
		assert.Equal(t, version, at(documents(t, string(text))[0], "dist", "version"), "the version the binary says it is")
	}
}

func TestContainerRunsAsTheUserThatManifestsExpect(t *testing.T) {
	file := read(t, "container", "Containerfile")
	assert.Contains(t, file, "FROM scratch\n")
	assert.Contains(t, file, "\nUSER 10001:10001\n")
	assert.Contains(t, file, "--chown=10001:10001 /state /var/lib/pitwall")
	assert.Contains(t, file, "PITWALL_HEALTH_ENDPOINT=0.0.0.0:13133")
	assert.Contains(t, file, `CMD ["--config", "/etc/pitwall/config.yaml"]`)
	assert.Contains(t, file, "/etc/ssl/certs/ca-certificates.crt")
}

func TestGatewayServicesPointAtItsPods(t *testing.T) {
	list := documents(t, read(t, "kubernetes", "gateway.yaml"))
	labels := at(list[0], "spec", "template", "metadata", "labels")
	headless := ""
	for _, document := range list {
		selector := at(document, "spec", "selector")
		if document["kind"] != "Service" {
			selector = at(selector, "matchLabels")
		}
		assert.Subset(t, labels, selector, "%s %s", document["kind"], at(document, "metadata", "name"))
		if at(document, "spec", "clusterIP") == "None" {
			headless, _ = at(document, "metadata", "name").(string)
		}
	}
	assert.Equal(t, headless, at(list[0], "spec", "serviceName"))
	agent := collectors(podSpec(documents(t, read(t, "kubernetes", "agent.yaml"))[0]))[0]
	assert.Equal(t, headless+".pitwall.svc.cluster.local", environment(agent)["PITWALL_GATEWAY_HOST"])
}

func TestKustomizationNamesFilesThatExist(t *testing.T) {
	resources, _ := at(documents(t, read(t, "kubernetes", "kustomization.yaml"))[0], "resources").([]any)
	require.NotEmpty(t, resources)
	for _, resource := range resources {
		assert.FileExists(t, filepath.Join(deployDir(t), "kubernetes", resource.(string)))
	}
}

// embedded says which manifest carries which of our configurations, below which
// line to the end of the file.
var embedded = []struct{ manifest, config, marker string }{
	{"kubernetes/agent-config.yaml", "agent.yaml", "  config.yaml: |\n"},
	{"kubernetes/gateway-config.yaml", "gateway-fleet.yaml", "  config.yaml: |\n"},
	{"kubernetes/gateway-alone-config.yaml", "gateway.yaml", "  config.yaml: |\n"},
	{"kubernetes/decider-config.yaml", "decider.yaml", "  config.yaml: |\n"},
	{"kubernetes/sidecar-config.yaml", "sidecar.yaml", "  config.yaml: |\n"},
	{"kubernetes/sidecar-operator.yaml", "sidecar.yaml", "  config:\n"},
	{"helm/values-gateway.yaml", "gateway-fleet.yaml", "alternateConfig:\n"},
	{"helm/values-decider.yaml", "decider.yaml", "alternateConfig:\n"},
}

func TestManifestsCarryTheConfigurationsWeShip(t *testing.T) {
	for _, e := range embedded {
		t.Run(e.manifest, func(t *testing.T) {
			config, err := os.ReadFile(filepath.Join(harness.Root(t), "configs", e.config))
			require.NoError(t, err)
			text := read(t, e.manifest)
			head, body, found := strings.Cut(text, e.marker)
			require.True(t, found)
			depth := len(e.marker) - len(strings.TrimLeft(e.marker, " ")) + 2
			want := indent(string(config), depth)
			if *update {
				require.NoError(t, os.WriteFile(filepath.Join(deployDir(t), e.manifest), []byte(head+e.marker+want), 0o644))
				return
			}
			assert.Equal(t, want, body, "run: go -C tests test ./deploy -update")
		})
	}
}

func indent(text string, depth int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			out.WriteString(strings.Repeat(" ", depth))
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestEmbeddedConfigurationsAreValid(t *testing.T) {
	full, small := harness.Binary(t, "pitwall"), harness.Binary(t, "pitwall-sidecar")
	for _, c := range []struct {
		manifest, binary string
		path             []any
	}{
		{"kubernetes/agent-config.yaml", full, []any{"data", "config.yaml"}},
		{"kubernetes/gateway-config.yaml", full, []any{"data", "config.yaml"}},
		{"kubernetes/gateway-alone-config.yaml", full, []any{"data", "config.yaml"}},
		{"kubernetes/decider-config.yaml", full, []any{"data", "config.yaml"}},
		{"kubernetes/sidecar-config.yaml", small, []any{"data", "config.yaml"}},
		{"kubernetes/sidecar-operator.yaml", small, []any{"spec", "config"}},
		{"helm/values-agent.yaml", full, []any{"alternateConfig"}},
		{"helm/values-gateway.yaml", full, []any{"alternateConfig"}},
		{"helm/values-decider.yaml", full, []any{"alternateConfig"}},
	} {
		t.Run(c.manifest, func(t *testing.T) {
			config := at(documents(t, read(t, c.manifest))[0], c.path...)
			text, ok := config.(string)
			if !ok {
				require.NotEmpty(t, config)
				encoded, err := yaml.Marshal(config)
				require.NoError(t, err)
				text = string(encoded)
			}
			assert.NoError(t, harness.Validate(t, c.binary, harness.WriteFile(t, "config.yaml", text)))
		})
	}
}

// systemd resolves every program a unit names; ours are not installed here, so
// that the units are verified with a program that is.
func TestUnitsAreValid(t *testing.T) {
	// Not a peer that CI installs: a machine without systemd has nothing to run units on.
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED, NO SYSTEMD ON THIS MACHINE: systemd-analyze")
	}
	units, err := filepath.Glob(filepath.Join(deployDir(t), "systemd", "*.service"))
	require.NoError(t, err)
	require.Len(t, units, 2)
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			text, err := os.ReadFile(unit)
			require.NoError(t, err)
			for _, program := range []string{"/usr/bin/pitwall", "/usr/bin/opampsupervisor"} {
				text = bytes.ReplaceAll(text, []byte("="+program+" "), []byte("=/bin/true "))
			}
			path := filepath.Join(t.TempDir(), filepath.Base(unit))
			require.NoError(t, os.WriteFile(path, text, 0o600))
			out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
			assert.NoError(t, err, "%s", out)
			assert.NotContains(t, string(out), filepath.Base(unit), "a warning is an error that systemd lives with")
		})
	}
}

func TestUnitsStopWhatTheyStart(t *testing.T) {
	collector, supervisor := read(t, "systemd", "pitwall.service"), read(t, "systemd", "pitwall-supervisor.service")
	assert.Contains(t, collector, "\nExecStart=/usr/bin/pitwall --config ${PITWALL_CONFIG} \""+instanceArgument+"'%H'\"\n")
	for _, unit := range []string{collector, supervisor} {
		assert.Contains(t, unit, "\nKillMode=mixed\n")
		assert.Contains(t, unit, "\nUser=pitwall\n")
		assert.Contains(t, unit, "\nEnvironmentFile=-/etc/pitwall/pitwall.env\n")
	}
	assert.Contains(t, collector, "\nExecReload=/bin/kill -HUP $MAINPID\n")
	assert.Contains(t, supervisor, "\nKillSignal=SIGINT\n", "the supervisor handles no SIGTERM")
	assert.Contains(t, read(t, "systemd", "pitwall.sysusers"), "u pitwall ")
}

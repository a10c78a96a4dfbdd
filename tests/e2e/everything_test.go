// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// Two generations of contrib components are linked into one binary. They must register, start and stop together.
func TestEveryComponentStartsAtOnce(t *testing.T) {
	binary := harness.Binary(t, "pitwall")
	root := harness.Root(t)
	everything := filepath.Join(root, "tests", "e2e", "testdata", "everything.yaml")

	api := httptest.NewServer(http.HandlerFunc(emptyCluster))
	defer api.Close()
	kubeconfig := harness.WriteFile(t, "kubeconfig", `
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: `+api.URL+`}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
users: [{name: test, user: {token: test}}]
current-context: test
`)
	at := newEndpoints(t)
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(dir), "bills"), 0o700))
	recording := filepath.Join(filepath.Dir(dir), "recording")
	require.NoError(t, os.Mkdir(recording, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(recording, "traces.jsonl"), []byte(`{"resourceSpans":[]}`+"\n"), 0o600))
	collector := harness.Start(t, harness.Options{
		Binary:  binary,
		Configs: []string{everything},
		Env: append(at.env,
			"PITWALL_STATE_DIR="+dir,
			"PITWALL_CHANGE_ENDPOINT="+harness.Address(t),
			"PITWALL_PPROF_ENDPOINT="+harness.Address(t),
			"PITWALL_ZPAGES_ENDPOINT="+harness.Address(t),
			"PITWALL_PROMETHEUS_ENDPOINT="+harness.Address(t),
			"PITWALL_KUBE_API="+api.URL,
			"KUBECONFIG="+kubeconfig,
			"KUBERNETES_SERVICE_HOST=127.0.0.1",
			"KUBERNETES_SERVICE_PORT="+portOf(t, api.URL),
		),
		ReadyWait: 2 * time.Minute,
	})
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.NotContains(t, collector.Logs(), "panic")
	assert.Equal(t, typesInManifest(t, filepath.Join(root, "distributions", "pitwall", "components.go")), typesInConfig(t, everything),
		"a component of the binary is not in everything.yaml, or the other way round")
}

// emptyCluster answers like an API server that has no objects.
func emptyCluster(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("watch") == "true":
		w.WriteHeader(http.StatusOK)
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		<-r.Context().Done()
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"pitwall","namespace":"default"},"spec":{}}`))
	case strings.Contains(r.URL.Path, "/leases/"):
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
	case r.URL.Path == "/version":
		_, _ = w.Write([]byte(`{"major":"1","minor":"35","gitVersion":"v1.35.0"}`))
	case r.URL.Path == "/api":
		_, _ = w.Write([]byte(`{"kind":"APIVersions","versions":["v1"]}`))
	case r.URL.Path == "/apis":
		_, _ = w.Write([]byte(`{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`))
	case r.URL.Path == "/api/v1":
		_, _ = w.Write([]byte(`{"kind":"APIResourceList","groupVersion":"v1","resources":[]}`))
	case r.URL.Path == "/stats/summary":
		_, _ = w.Write([]byte(`{"node":{"nodeName":"test"},"pods":[]}`))
	default:
		_, _ = w.Write([]byte(`{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`))
	}
}

func portOf(t *testing.T, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	return port
}

var factory = regexp.MustCompile(`^\t\t(\w+)\.NewFactory\(\),$`)

// typesInManifest counts the factories by class in what ocb generated.
func typesInManifest(t *testing.T, path string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	counts := map[string]int{}
	class := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		for name, call := range map[string]string{
			"extensions": "MakeFactoryMap[extension.", "receivers": "MakeFactoryMap[receiver.", "processors": "MakeFactoryMap[processor.",
			"exporters": "MakeFactoryMap[exporter.", "connectors": "MakeFactoryMap[connector.",
		} {
			if strings.Contains(line, call) {
				class = name
			}
		}
		if factory.MatchString(line) {
			counts[class]++
		}
	}
	return counts
}

// typesInConfig counts the distinct component types by class in a configuration.
func typesInConfig(t *testing.T, path string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	require.NoError(t, err)
	var document map[string]any
	require.NoError(t, yaml.Unmarshal(content, &document))
	counts := map[string]int{}
	for _, class := range []string{"extensions", "receivers", "processors", "exporters", "connectors"} {
		components, ok := document[class].(map[string]any)
		require.True(t, ok, "%s: no %s", path, class)
		types := map[string]bool{}
		for id := range components {
			name, _, _ := strings.Cut(id, "/")
			types[name] = true
		}
		counts[class] = len(types)
	}
	return counts
}

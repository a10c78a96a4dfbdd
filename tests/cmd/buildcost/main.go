// SPDX-License-Identifier: Apache-2.0

// Command buildcost prints, as a Markdown table, what each heavy group of components costs a distribution: the CPU seconds that
// compiling takes for packages nothing else needs, and the megabytes by which the stripped binary shrinks without the group.
//
// The seconds come from the go command's own action graph of one build from an empty build cache, so the first run takes as long as
// such a build. The megabytes come from linking the distribution again without the group.
//
//	go run ./cmd/buildcost -distribution ../distributions/pitwall
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// group is a set of components that share what makes them heavy. members are the package aliases in components.go.
type group struct {
	name    string
	members []string
}

var groups = []group{
	{"Kafka", []string{"kafkareceiver", "kafkaexporter"}},
	{"Kubernetes clients", []string{"k8sattributesprocessor", "k8sclusterreceiver", "kubeletstatsreceiver", "k8sleaderelector", "loadbalancingexporter", "resourcedetectionprocessor"}},
	{"Prometheus", []string{"prometheusreceiver", "prometheusexporter", "prometheusremotewriteexporter"}},
	{"OTTL", []string{"transformprocessor", "filterprocessor", "tailsamplingprocessor", "servicegraphconnector"}},
	{"load balancing", []string{"loadbalancingexporter"}},
	{"resource detection", []string{"resourcedetectionprocessor"}},
	{"host metrics", []string{"hostmetricsreceiver"}},
	{"log files", []string{"filelogreceiver"}},
	{"OpAMP", []string{"opampextension"}},
}

const ownModule = "github.com/pitwall-io/pitwall/"

func main() {
	log.SetFlags(0)
	distribution := flag.String("distribution", "../distributions/pitwall", "folder of a distribution that ocb made")
	flag.Parse()
	if err := run(*distribution); err != nil {
		log.Fatal(err)
	}
}

func run(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "buildcost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	source, err := os.ReadFile(filepath.Join(dir, "components.go"))
	if err != nil {
		return err
	}
	imports := importsOf(string(source))

	cache := filepath.Join(work, "cache")
	graph := filepath.Join(work, "graph.json")
	log.Print("building once from an empty cache")
	start := time.Now()
	whole, err := build(dir, work, cache, nil, "-debug-actiongraph="+graph)
	if err != nil {
		return err
	}
	wall := time.Since(start)
	seconds, err := compileSeconds(graph)
	if err != nil {
		return err
	}
	var total float64
	for _, s := range seconds {
		total += s
	}

	fmt.Printf("| group | CPU seconds of compiling | MB in the stripped binary |\n|---|---|---|\n")
	fmt.Printf("| everything (%d packages, %.0f s on the clock) | %.0f | %.1f |\n", len(seconds), wall.Seconds(), total, mb(whole))

	all := slices.Collect(maps.Values(imports))
	own := group{name: "our own components"}
	for alias, path := range imports {
		if strings.HasPrefix(path, ownModule) {
			own.members = append(own.members, alias)
		}
	}
	for _, g := range append(slices.Clone(groups), own) {
		var without []string
		for _, member := range g.members {
			if path, ok := imports[member]; ok {
				without = append(without, path)
			}
		}
		if len(without) == 0 {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return slices.Contains(without, p) })
		exclusive, err := exclusivePackages(dir, without, rest)
		if err != nil {
			return err
		}
		var cpu float64
		for _, p := range exclusive {
			cpu += seconds[p]
		}
		log.Printf("linking without %s", g.name)
		overlay := filepath.Join(work, "components.go")
		if err := os.WriteFile(overlay, []byte(removeComponents(string(source), g.members)), 0o600); err != nil {
			return err
		}
		size, err := build(dir, work, cache, map[string]string{filepath.Join(dir, "components.go"): overlay})
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.1f |\n", g.name, cpu, mb(whole-size))
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

var importLine = regexp.MustCompile(`(?m)^\t(\w+) "([^"]+)"$`)

// importsOf returns the aliased imports of a generated components.go: alias to import path.
func importsOf(source string) map[string]string {
	imports := map[string]string{}
	for _, m := range importLine.FindAllStringSubmatch(source, -1) {
		imports[m[1]] = m[2]
	}
	return imports
}

// removeComponents drops every line that uses one of the aliases. ocb writes one component a line.
func removeComponents(source string, aliases []string) string {
	uses := regexp.MustCompile(`(^\t(` + strings.Join(aliases, "|") + `) "|\b(` + strings.Join(aliases, "|") + `)\.)`)
	var kept []string
	for line := range strings.Lines(source) {
		if !uses.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// build compiles and links the distribution and returns the size of the binary in bytes.
func build(dir, work, cache string, overlay map[string]string, extra ...string) (int64, error) {
	out := filepath.Join(work, "binary")
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", out}, extra...)
	if overlay != nil {
		file := filepath.Join(work, "overlay.json")
		content, err := json.Marshal(map[string]any{"Replace": overlay})
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return 0, err
		}
		args = append(args, "-overlay", file)
	}
	if _, err := goCommand(dir, cache, append(args, ".")...); err != nil {
		return 0, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// compileSeconds reads CPU seconds by package from the go command's action graph.
func compileSeconds(path string) (map[string]float64, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var actions []struct {
		Mode    string
		Package string
		CmdUser time.Duration
		CmdSys  time.Duration
	}
	if err := json.Unmarshal(content, &actions); err != nil {
		return nil, fmt.Errorf("read the action graph: %w", err)
	}
	seconds := map[string]float64{}
	for _, a := range actions {
		if a.Mode == "build" {
			seconds[a.Package] += (a.CmdUser + a.CmdSys).Seconds()
		}
	}
	return seconds, nil
}

// exclusivePackages returns the packages that those in without need and nothing in rest does.
func exclusivePackages(dir string, without, rest []string) ([]string, error) {
	needed, err := deps(dir, without)
	if err != nil {
		return nil, err
	}
	kept, err := deps(dir, append(rest, "go.opentelemetry.io/collector/otelcol"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(needed, func(p string) bool { _, found := slices.BinarySearch(kept, p); return found }), nil
}

func deps(dir string, packages []string) ([]string, error) {
	out, err := goCommand(dir, "", append([]string{"list", "-deps", "-tags", "grpcnotrace"}, packages...)...)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(out)
	slices.Sort(list)
	return list, nil
}

func goCommand(dir, cache string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+cache)
	}
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

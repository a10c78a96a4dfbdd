// SPDX-License-Identifier: Apache-2.0

// Package configs_test holds every configuration that we ship or print against
// the built binary.
package configs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// small names the configurations that must run on the small binary too.
var small = map[string]bool{"sidecar.yaml": true, "demo.yaml": true, "replay.yaml": true, "standalone.yaml": true, "shop.yaml": true}

// shipped finds the collector configurations. Files for the supervisor are not
// for the collector.
func shipped(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"configs/*.yaml", "configs/cost/*.yaml", "configs/opamp/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(harness.Root(t), pattern))
		require.NoError(t, err)
		for _, path := range paths {
			if !strings.HasPrefix(filepath.Base(path), "supervisor-") {
				found = append(found, path)
			}
		}
	}
	return found
}

func TestShippedConfigurationsAreValidWithNoVariableSet(t *testing.T) {
	paths := shipped(t)
	require.NotEmpty(t, paths, "no configuration was found: the patterns are wrong")
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			assert.NoError(t, harness.Validate(t, harness.Binary(t, "pitwall"), path))
			if small[filepath.Base(path)] {
				assert.NoError(t, harness.Validate(t, harness.Binary(t, "pitwall-sidecar"), path), "on the small binary")
			}
		})
	}
}

func TestValidateFindsWhatIsBroken(t *testing.T) {
	config := harness.WriteFile(t, "broken.yaml", `
receivers: {otlp: {protocols: {grpc: {no_such_key: 1}}}}
exporters: {debug: {}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}
`)
	assert.ErrorContains(t, harness.Validate(t, harness.Binary(t, "pitwall"), config), "no_such_key")
}

// component is the folder of one component of ours.
var component = regexp.MustCompile(`^(receiver|processor|connector|exporter|extension)/\w+$`)

var yamlBlock = regexp.MustCompile("(?ms)^```ya?ml[^\n]*\n(.*?)^```")

// skipped directories hold no pages of ours.
var skipped = map[string]bool{".git": true, ".cache": true, ".run": true, "bin": true, "node_modules": true, "testdata": true, "distributions": true}

// printed finds the configurations in the pages: blocks of YAML with a top-level
// service that has pipelines.
func printed(t *testing.T) map[string]string {
	t.Helper()
	root := harness.Root(t)
	blocks := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped[entry.Name()]:
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		page, err := filepath.Rel(root, path)
		for i, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			if hasPipelines(block[1]) {
				blocks[fmt.Sprintf("%s#%d", page, i+1)] = block[1]
			}
		}
		return err
	})
	require.NoError(t, err)
	return blocks
}

func hasPipelines(text string) bool {
	var config struct {
		Service struct {
			Pipelines map[string]any `yaml:"pipelines"`
		} `yaml:"service"`
	}
	return yaml.Unmarshal([]byte(text), &config) == nil && len(config.Service.Pipelines) > 0
}

func TestPrintedConfigurationsAreValidWithNoVariableSet(t *testing.T) {
	blocks := printed(t)
	require.NotEmpty(t, blocks, "no page holds a configuration: the search is wrong")
	manifest, err := os.ReadFile(filepath.Join(harness.Root(t), "builder-config.yaml"))
	require.NoError(t, err)
	for name, text := range blocks {
		t.Run(name, func(t *testing.T) {
			dir := filepath.ToSlash(filepath.Dir(name))
			if component.MatchString(dir) && !strings.Contains(string(manifest), "github.com/pitwall-io/pitwall/"+dir+"\n") {
				t.Skip("SKIPPED, NOT IN THE DISTRIBUTION: " + dir)
			}
			config := harness.WriteFile(t, "printed.yaml", text)
			alone := harness.Validate(t, harness.Binary(t, "pitwall"), config)
			if alone == nil {
				return
			}
			neighbours := filepath.Join(harness.Root(t), "tests", "configs", "testdata", "neighbours.yaml")
			assert.NoError(t, harness.Validate(t, harness.Binary(t, "pitwall"), neighbours, config), "alone: %v", alone)
		})
	}
}

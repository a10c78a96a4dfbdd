// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// lax are the upstream components that accept a key they do not know, at these versions. The README of distributions/ lists them.
var lax = map[string]string{
	"extensions/zpages":                 "confighttp v0.160 ignores keys it does not know, also those beside its own",
	"exporters/otlp_http":               "the same",
	"exporters/prometheus":              "the same",
	"exporters/prometheus_remote_write": "the same",
	"receivers/host_metrics":            "decodes its scrapers by itself",
	"processors/resource_detection":     "the same, through the detectors' settings",
}

// A component that is linked with a newer core than it was written for can stop decoding its own keys: then it ignores a typing
// error, and every setting, in silence. So each component of the binary must refuse a key that it does not know.
func TestEveryComponentRefusesUnknownKeys(t *testing.T) {
	binary := harness.Binary(t, "pitwall")
	content, err := os.ReadFile(filepath.Join("testdata", "everything.yaml"))
	require.NoError(t, err)
	at := newEndpoints(t)
	env := append(os.Environ(), at.env...)
	for _, name := range []string{"PITWALL_CHANGE_ENDPOINT", "PITWALL_PPROF_ENDPOINT", "PITWALL_ZPAGES_ENDPOINT", "PITWALL_PROMETHEUS_ENDPOINT", "PITWALL_KUBE_API"} {
		env = append(env, name+"=127.0.0.1:1")
	}
	validate := func(document map[string]any) (string, error) {
		text, err := yaml.Marshal(document)
		require.NoError(t, err)
		file := harness.WriteFile(t, "config.yaml", string(text))
		cmd := exec.CommandContext(t.Context(), binary, "validate", "--config", file)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	var whole map[string]any
	require.NoError(t, yaml.Unmarshal(content, &whole))
	out, err := validate(whole)
	require.NoError(t, err, out)

	checked := 0
	for _, class := range []string{"extensions", "receivers", "processors", "exporters", "connectors"} {
		components, ok := whole[class].(map[string]any)
		require.True(t, ok)
		for _, id := range slices.Sorted(maps.Keys(components)) {
			switch id {
			case "nop", "forward":
				continue // they have no configuration to decode
			}
			original := components[id]
			changed := map[string]any{"not_a_key_of_this_component": 1}
			if settings, isMap := original.(map[string]any); isMap {
				maps.Copy(changed, settings)
			}
			components[id] = changed
			out, err := validate(whole)
			components[id] = original
			if reason, known := lax[class+"/"+id]; known {
				assert.NoError(t, err, "%s of %s refuses unknown keys now: take it off the list (%s)", id, class, reason)
				checked++
				continue
			}
			assert.Error(t, err, "%s of %s accepts a key that it does not know", id, class)
			assert.Contains(t, out, "not_a_key_of_this_component", "%s of %s", id, class)
			checked++
		}
	}
	require.Greater(t, checked, 40)
}

// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func TestTheReadmeExampleWorks(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "```yaml\n")
	require.True(t, found)
	block, _, _ := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(block), 0o600))
	conf, err := confmaptest.LoadConf(file)
	require.NoError(t, err)
	sub, err := conf.Sub("processors::tail_sampling")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	assert.Len(t, cfg.Policies, 4)
}

func TestTheReadmeNamesEveryKeyAndPolicy(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for field := range reflect.TypeFor[Config]().Fields() {
		assert.Contains(t, string(text), "`"+field.Tag.Get("mapstructure"), "key")
	}
	for kind := range kinds {
		assert.Contains(t, string(text), "`"+kind+"`", "policy")
	}
}

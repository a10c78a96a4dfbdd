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

func TestTheReadmeExamplesWork(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	require.Len(t, blocks, 4)
	for i := range blocks {
		block, _, _ := strings.Cut(blocks[i], "```")
		file := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(file, []byte(block), 0o600))
		conf, err := confmaptest.LoadConf(file)
		require.NoError(t, err)
		sub, err := conf.Sub("processors::tail_sampling")
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, sub.Unmarshal(cfg))
		require.NoError(t, cfg.Validate())
		assert.NotEmpty(t, cfg.Policies)
	}
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

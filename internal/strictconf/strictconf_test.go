// SPDX-License-Identifier: Apache-2.0

package strictconf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type inner struct {
	Deep int `mapstructure:"deep,omitempty"`
}

type base struct {
	Endpoint string `mapstructure:"endpoint"`
	TLS      *inner `mapstructure:"tls"`
	hidden   int
}

type opaque struct{ value int }

type config struct {
	Base   base           `mapstructure:",squash"`
	More   *base          `mapstructure:",squash"`
	Limit  int            `mapstructure:"limit"`
	Nested inner          `mapstructure:"nested"`
	Opaque opaque         `mapstructure:"opaque"`
	Free   map[string]any `mapstructure:"free"`
	Left   int            `mapstructure:"-"`
	Plain  int
}

func TestKeysThatNothingReadsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		given map[string]any
		want  string
	}{
		"none":     {nil, ""},
		"known":    {map[string]any{"endpoint": "x", "limit": 1, "nested": map[string]any{"deep": 1}, "tls": map[string]any{"deep": 2}}, ""},
		"free":     {map[string]any{"free": map[string]any{"anything": 1}, "opaque": map[string]any{"value": 1}}, ""},
		"null":     {map[string]any{"nested": nil}, ""},
		"unknown":  {map[string]any{"limits": 1, "endpont": "x"}, "has invalid keys: endpont, limits"},
		"nested":   {map[string]any{"nested": map[string]any{"depp": 1}, "tls": map[string]any{"x": 1}}, "has invalid keys: nested::depp, tls::x"},
		"untagged": {map[string]any{"Plain": 1, "-": 1, "hidden": 1}, "has invalid keys: -, Plain, hidden"},
	} {
		err := Check(c.given, &config{Base: base{hidden: 1}, Opaque: opaque{value: 1}})
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, errUnknown)
		assert.Equal(t, c.want, err.Error(), name)
	}
	require.ErrorIs(t, Check(map[string]any{"x": 1}, 5), errUnknown)
}

// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bomb is a value that becomes 9 to the power of n when its aliases are followed.
func bomb(n int) string {
	var b strings.Builder
	b.WriteString("{l0: &l0 x")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, ", l%d: &l%d [%s]", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 9), ", "))
	}
	return b.String() + "}"
}

// Whatever lies in a file, it is refused with its name and a reason of bounded length, and takes memory in proportion to its size.
func TestHostileFilesAreRefused(t *testing.T) {
	ratioOf := func(spec string) string {
		return fmt.Sprintf(`apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: s
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  indicator: {metadata: {name: i}, spec: {ratioMetric: {good: {metricSource: {type: pitwall, spec: &s %s}}, total: {metricSource: {type: pitwall, spec: *s}}}}}
  objectives: [{target: 0.9}]
`, spec)
	}
	many := func(n int, line string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ text, want string }{
		"aliases of aliases":          {ratioOf(bomb(9)), "spec must be a mapping: yaml: document contains excessive aliasing"},
		"the same in our own":         {"objectives:\n  - name: x\n    indicator: " + bomb(9), "excessive aliasing"},
		"the same in annotations":     {"apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a, annotations: " + bomb(9) + "}\nspec: {}\n", "an annotation's value is a string"},
		"an alias of itself":          {"apiVersion: openslo/v1\nkind: Service\nmetadata: &m {name: a, labels: *m}\nspec: *m\n", "o.yaml:"},
		"a hundred thousand deep":     {strings.Repeat("[", 100_000), "o.yaml:1"},
		"a hundred thousand mappings": {strings.Repeat("{a: ", 100_000), "o.yaml:1"},
		"NUL":                         {"objectives: [{name: \x00, target: 0.9}]", "control characters are not allowed"},
		"NUL, escaped":                {"objectives: [{name: \"\\0\", target: 2}]", "target must be in"},
		"not UTF-8":                   {"objectives: [{name: \xff\xfe}]", "o.yaml:"},
		"UTF-16":                      {"\xff\xfeo\x00b\x00", "o.yaml:"},
		"five mebibytes":              {strings.Repeat("# nothing\n", 5<<20/10), "a file may hold up to 4 MiB"},
		"documents without end":       {strings.Repeat("a: b\n---\n", 20_000), "o.yaml:"},
		"keys without end":            {"apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n" + many(100_000, "k%d: 1\n"), "k0 is unknown"},
		"a very long name":            {"objectives: [{name: " + strings.Repeat("n", 1<<20) + ", target: 2}]", "name must be UTF-8 of up to 300 bytes (got 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "o.yaml")
			write(t, file, c.text)
			cfg := createDefaultConfig().(*Config)
			cfg.Files = []string{file}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := cfg.Validate()
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			assert.Contains(t, err.Error()[:min(len(err.Error()), 64<<10)], c.want)
			assert.Less(t, len(err.Error()), 64<<10, "a reason that fits into a log line")
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<30), "allocated")
		})
	}
}

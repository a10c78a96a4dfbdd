// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/slo"
)

const latencyDocument = `
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-latency}
spec:
  service: checkout
  indicator:
    metadata: {name: latency}
    spec: {thresholdMetric: {metricSource: {type: pitwall, spec: {unit: ms, spans: {kinds: [server]}}}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{op: lt, value: 300, targetPercent: 95}]
`

const elsewhereDocument = `
apiVersion: openslo/v1
kind: SLO
metadata: {name: elsewhere}
spec:
  service: billing
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  indicator:
    metadata: {name: x}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: Prometheus, spec: {query: x}}}}}
  objectives: [{target: 0.9}]
`

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestObjectivesComeFromDocumentsInLineAndFromFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.yaml"), "objectives: [{name: own, target: 0.9, indicator: {logs: {bad_severity: ERROR}}}]\n---\n"+elsewhereDocument)
	cfg := createDefaultConfig().(*Config)
	cfg.OpenSLO, cfg.Files = latencyDocument, []string{filepath.Join(dir, "*.yaml"), filepath.Join(dir, "b.yaml")}
	require.NoError(t, confmap.Validate(cfg))
	_, objectives, err := cfg.book()
	require.NoError(t, err)
	require.Len(t, objectives, 3)
	assert.Equal(t, "own", objectives[0].Name)
	assert.Equal(t, slo.Indicator{Kind: slo.IndicatorLatency, Kinds: []string{"server"}, Latency: 300*time.Millisecond - 1}, objectives[1].Indicator)
	assert.Contains(t, objectives[2].NotComputable, "Prometheus")
}

func TestWhatCannotBeUsedIsRefusedByFileAndLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "o.yaml")
	for text, want := range map[string]string{
		"a: b\n": "o.yaml:1: a document is neither an OpenSLO document nor a mapping with the key objectives",
		"\nobjectives: [{name: x, targt: 0.9}]\n":                        "o.yaml:2: ",
		"\nobjectives: [{name: x, target: 2, indicator: {spans: {}}}]\n": "o.yaml:2: objectives[0] x: objective x: target must be in [0, 1) (got 2)",
		latencyDocument[1:] + "---\nkind: SLO\n":                         "o.yaml:13: ",
	} {
		write(t, file, text)
		cfg := createDefaultConfig().(*Config)
		cfg.Files = []string{file}
		assert.ErrorContains(t, cfg.Validate(), want, text)
	}
	for _, c := range []struct{ from, to, want string }{
		{"unit: ms, ", "", "unit must be ns, us, ms, s or m beside spans"},
		{"op: lt", "op: gt", `op must be lt or lte (got "gt")`},
		{"value: 300", "value: -1", "value must be a positive duration (got -1 ms)"},
		{"spans: {kinds: [server]}", "spans: {latency: 1s}", "latency is given too (got 1s)"},
		{"spans: {kinds: [server]}", "spans: {kinds: [servers]}", "kinds must be of server"},
		{"spans: {kinds: [server]}", "logs: {bad_severity: ERROR}", "op and value compare the duration of spans"},
		{"spans: {kinds: [server]}", "spams: {}", "op and value compare"},
	} {
		cfg := createDefaultConfig().(*Config)
		require.Contains(t, latencyDocument, c.from)
		cfg.OpenSLO = strings.Replace(latencyDocument, c.from, c.to, 1)
		err := cfg.Validate()
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "openslo:12: ")
	}
	cfg := createDefaultConfig().(*Config)
	cfg.Files = []string{filepath.Join(dir, "none-*.yaml")}
	assert.ErrorContains(t, cfg.Validate(), "files: no file matches (got ")
	cfg.Files = []string{"["}
	assert.ErrorContains(t, cfg.Validate(), "syntax error in pattern")
}

// A change of the files takes effect while the book is open: what stayed goes on, what goes leaves its state behind, and what is wrong
// changes nothing.
func TestChangedFilesAreReadAnewAndWrongOnesAreNot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "objectives.yaml")
	one := func(target string) string {
		return "objectives: [{name: a, target: " + target + ", indicator: {spans: {}}}, {name: b, target: 0.9, indicator: {spans: {}}}]"
	}
	write(t, file, one("0.9"))
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		cfg := createDefaultConfig().(*Config)
		cfg.AlertProfile, cfg.Files, cfg.Storage = slo.ProfileDemo, []string{file}, &storageID
		set := extensiontest.NewNopSettings(metadata.Type)
		tel := componenttest.NewTelemetry()
		set.TelemetrySettings = tel.NewTelemetrySettings()
		set.Logger = zap.New(core)
		x, err := newExtension(cfg, set)
		require.NoError(t, err)
		require.NoError(t, x.Start(t.Context(), hostOf(map[component.ID]component.Component{storageID: newShelf()})))
		settle := func(text string) {
			write(t, file, text)
			time.Sleep(3 * cfg.ReloadInterval)
			synctest.Wait()
		}
		counts := func() map[string]float64 {
			out := map[string]float64{}
			for _, s := range x.Statuses() {
				out[s.Name] = s.Good
			}
			return out
		}
		feed := func() {
			for name := range counts() {
				i, ok := x.engine.Objective(name)
				require.True(t, ok)
				tally := x.engine.NewTally()
				tally.Entry(i, nil).Add(tally.Slice(time.Now().UnixNano()), time.Now().UnixNano(), false, slo.One)
				tally.Observe(1, time.Now().UnixNano())
				x.Commit(t.Context(), tally, time.Now())
			}
		}
		feed()
		settle(one("0.5"))
		assert.Equal(t, map[string]float64{"a": 1, "b": 1}, counts(), "another target is the same state")
		assert.InDelta(t, 0.5, x.Statuses()[0].Target, 0)
		feed()

		before := logs.Len()
		settle("objectives: [")
		time.Sleep(10 * cfg.ReloadInterval)
		settle("objectives: [{name: a, target: 0.9, indicator: {spans: {where: 'no =='}}}]")
		assert.Equal(t, map[string]float64{"a": 2, "b": 2}, counts(), "what is wrong changes nothing")
		said := logs.All()[before:]
		assert.Len(t, said, 2, "and is said once: %v", said)
		require.NoError(t, os.Remove(file))
		time.Sleep(5 * cfg.ReloadInterval)
		assert.Len(t, counts(), 2, "a file that vanishes takes nothing with it")

		settle("objectives: [{name: b, target: 0.9, indicator: {spans: {}}}, {name: c, target: 0.9, indicator: {spans: {}}}]")
		assert.Equal(t, map[string]float64{"b": 2, "c": 0}, counts())
		feed()
		settle(one("0.9"))
		assert.Equal(t, map[string]float64{"a": 2, "b": 3}, counts(), "an objective that comes back finds its state in storage")

		year := `{name: m, start: "1999-01-01", length: 31d, every: 1Y, until: "2100-01-01"}`
		settle(one("0.9") + "\nmaintenance: [" + year + "]\n")
		assert.Equal(t, []string{"m", "m"}, []string{x.Statuses()[0].Maintenance, x.Statuses()[1].Maintenance}, "the fake clock begins in January 2000")
		feed()
		assert.Equal(t, map[string]float64{"a": 2, "b": 3}, counts())
		settle(one("0.9") + "\nmaintenance: [{name: m, objectives: [c], start: \"1999-01-01\", length: 1h}]\n")
		assert.Equal(t, "m", x.Statuses()[0].Maintenance, "c is not there: all stays")
		settle(one("0.9"))
		assert.Empty(t, x.Statuses()[0].Maintenance)
		require.NoError(t, x.Shutdown(t.Context()))
		require.NoError(t, tel.Shutdown(t.Context()))
	})
}

// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// An hour of the shop as it was recorded, in which nothing is rolled out, through the configuration of the demo with its objectives
// and their short alert windows.
func TestAQuietHourCausesNoSignal(t *testing.T) {
	endpoint, health := harness.Address(t), harness.Address(t)
	c := &collector{t: t, endpoint: endpoint, path: filepath.Join(t.TempDir(), "signals.jsonl")}
	c.process = harness.Start(t, harness.Options{
		Binary: harness.Binary(t, "pitwall-sidecar"),
		Configs: []string{filepath.Join(harness.Root(t), "configs", "demo.yaml"), harness.WriteFile(t, "quiet.yaml", `
exporters:
  optimization/file: {file: {path: "`+c.path+`"}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs/signals: {receivers: [optimizer], exporters: [optimization/file]}
`)},
		Env: []string{
			"PITWALL_OTLP_GRPC_ENDPOINT=" + endpoint, "PITWALL_OTLP_HTTP_ENDPOINT=" + harness.Address(t),
			"PITWALL_API_ENDPOINT=" + harness.Address(t), "PITWALL_HEALTH_ENDPOINT=" + health, "PITWALL_STATE_DIR=" + t.TempDir(),
		},
		HealthURL: "http://" + health + "/health/status",
	})
	c.connect()
	rec := readRecording(t)
	begin := time.Now().Add(-time.Hour - time.Minute).Truncate(time.Minute)
	quiet := newResampler(scenario{name: "shop", load: 1, share: 1, factor: 1}, rec, begin, 42)
	spans := 0
	for since := time.Duration(0); since < time.Hour; since += slice {
		td, ld, md := ptrace.NewTraces(), plog.NewLogs(), pmetric.NewMetrics()
		quiet.quiet(since, td, ld, md)
		spans += td.SpanCount()
		c.send(td, ld, md)
	}
	require.Greater(t, spans, 10_000)
	said := c.stop()
	figures.Record(t, figures.Figure{
		Table: "Rollouts of the shop, resampled", Row: "an hour in which nothing is rolled out: signals", Reached: strconv.Itoa(len(said)), Wanted: "0", Command: command,
	})
	for _, e := range said {
		assert.Fail(t, "a signal", "%s: %s", e.Kind, e.Summary)
	}
}

// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// collector is the built binary with an optimizer and nothing else; its signals are lines of a file.
type collector struct {
	t        *testing.T
	process  *harness.Process
	endpoint string
	path     string

	traces  ptraceotlp.GRPCClient
	metrics pmetricotlp.GRPCClient
	logs    plogotlp.GRPCClient
}

const collectorConfig = `
receivers:
  otlp: {protocols: {grpc: {endpoint: %q, max_recv_msg_size_mib: 32}}}
connectors:
  optimizer: %s
exporters:
  optimization: {file: {path: %q}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [optimizer]}
    metrics: {receivers: [otlp], exporters: [optimizer]}
    logs: {receivers: [otlp], exporters: [optimizer]}
    logs/signals: {receivers: [optimizer], exporters: [optimization]}
`

// startCollector runs the optimizer with the given settings, in YAML's flow form.
func startCollector(t *testing.T, optimizer string) *collector {
	t.Helper()
	c := &collector{t: t, endpoint: harness.Address(t), path: filepath.Join(t.TempDir(), "signals.jsonl")}
	c.process = harness.Start(t, harness.Options{
		Binary:  harness.Binary(t, "pitwall-sidecar"),
		Configs: []string{harness.WriteFile(t, "rollouts.yaml", fmt.Sprintf(collectorConfig, c.endpoint, optimizer, c.path))},
	})
	c.connect()
	return c
}

func (c *collector) connect() {
	conn, err := grpc.NewClient(c.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	c.traces, c.metrics, c.logs = ptraceotlp.NewGRPCClient(conn), pmetricotlp.NewGRPCClient(conn), plogotlp.NewGRPCClient(conn)
}

// send sends changes and other records first: who reads them knows of a change when its effect comes.
func (c *collector) send(td ptrace.Traces, ld plog.Logs, md pmetric.Metrics) {
	c.t.Helper()
	if ld.LogRecordCount() > 0 {
		_, err := c.logs.Export(c.t.Context(), plogotlp.NewExportRequestFromLogs(ld))
		require.NoError(c.t, err)
	}
	if md.DataPointCount() > 0 {
		_, err := c.metrics.Export(c.t.Context(), pmetricotlp.NewExportRequestFromMetrics(md))
		require.NoError(c.t, err)
	}
	_, err := c.traces.Export(c.t.Context(), ptraceotlp.NewExportRequestFromTraces(td))
	require.NoError(c.t, err)
}

// stop ends the collector in good order and returns what it said.
func (c *collector) stop() []signal.Envelope {
	c.t.Helper()
	exit, err := c.process.Stop()
	require.NoError(c.t, err)
	require.Zero(c.t, exit.Code)
	return c.said()
}

// said returns the envelopes so far, oldest first.
func (c *collector) said() (all []signal.Envelope) {
	c.t.Helper()
	text, err := os.ReadFile(c.path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(c.t, err)
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		e, err := signal.Decode(line)
		require.NoError(c.t, err)
		all = append(all, e)
	}
	return all
}

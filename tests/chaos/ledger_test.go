// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const ledgerConfig = `
extensions:
  file_storage: {directory: %q, fsync: false}
  optimization: {endpoint: %q, storage: file_storage}
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
connectors: {optimizer: {storage: file_storage}}
exporters: {nop: {}}
service:
  telemetry: {metrics: {level: none}}
  extensions: [file_storage, optimization]
  pipelines:
    logs: {receivers: [otlp], exporters: [optimizer]}
    logs/signals: {receivers: [optimizer], exporters: [nop]}
`

// fight is two tools that change a service against each other at an event time.
func fight(n int, at time.Time) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", n))
	for i, tool := range []string{"argocd", "flagger"} {
		rec := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		rec.SetEventName("change.deployment")
		rec.SetTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Duration(i) * time.Second)))
		for name, value := range map[string]string{
			"change.id": fmt.Sprint(tool, n), "change.action": "deploy", "change.state": "succeeded", "change.tool": tool, "service.version": tool,
		} {
			rec.Attributes().PutStr(name, value)
		}
	}
	return ld
}

// A collector that is killed while it writes its ledger has a ledger that is whole, and in it is everything that it showed.
func TestAKillLeavesTheLedgerWhole(t *testing.T) {
	s := newSite(t)
	binary := harness.Binary(t, "pitwall-sidecar")
	config := harness.WriteFile(t, "collector.yaml", fmt.Sprintf(ledgerConfig, s.state, s.api, s.otlp))
	logs := t.TempDir()
	start := func(life int) *harness.Process {
		return harness.Start(t, harness.Options{Binary: binary, Configs: []string{config}, Log: filepath.Join(logs, fmt.Sprint(life, ".log"))})
	}
	type extent struct {
		First, Last uint64
		Hash        string
		Records     []json.RawMessage
	}
	lives := max(5, int(50*harness.Scale()))
	shown := map[uint64]string{}
	r := rand.New(rand.NewPCG(1, 1))
	began, n := time.Now().Add(-20*time.Hour), 0
	for life := range lives {
		collector := start(life)
		end := time.Now().Add(time.Duration(200+r.IntN(400)) * time.Millisecond)
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			time.Sleep(time.Until(end))
			collector.Kill()
		}()
		for ; time.Now().Before(end); n++ {
			body, err := plogotlp.NewExportRequestFromLogs(fight(n, began.Add(time.Duration(n)*4*time.Second))).MarshalProto()
			require.NoError(t, err)
			response, err := http.Post("http://"+s.otlp+"/v1/logs", "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // a loopback address in a test
			if err != nil {
				break // it is being killed
			}
			response.Body.Close()
			response, err = http.Get("http://" + s.api + "/api/v1/ledger?limit=1") //nolint:noctx // a loopback address in a test
			if err != nil {
				break
			}
			var seen extent
			if json.NewDecoder(response.Body).Decode(&seen) == nil && seen.Last > 0 {
				shown[seen.Last] = seen.Hash
			}
			response.Body.Close()
		}
		<-killed
	}
	require.NotEmpty(t, shown)

	collector := start(lives)
	var records []signal.Envelope
	for from := uint64(1); ; {
		var page extent
		s.get(t, fmt.Sprintf("/api/v1/ledger?limit=1000&from=%d", from), &page)
		for _, raw := range page.Records {
			e, err := signal.Decode(raw)
			require.NoError(t, err)
			records = append(records, e)
		}
		if from = records[len(records)-1].Audit.Seq + 1; from > page.Last {
			break
		}
	}
	_, err := signal.Verify(records)
	require.NoError(t, err)
	for seq, hash := range shown {
		require.LessOrEqual(t, seq, uint64(len(records)))
		assert.Equal(t, hash, records[seq-1].Audit.Hash, "record %d was shown before a kill", seq)
	}
	t.Logf("%d kills, %d records, of which %d were looked at before", lives, len(records), len(shown))
	_, err = collector.Stop()
	require.NoError(t, err)
}

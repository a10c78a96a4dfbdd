// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func TestFindingsLeaveAsLogRecordsAndAreSentAgainWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, h := newBook(t, slo.Demo())
		sink := new(consumertest.LogsSink)
		refuse := true
		next, err := consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
			if refuse {
				return errors.New("full")
			}
			return sink.ConsumeLogs(ctx, ld)
		})
		require.NoError(t, err)
		c := newCollector(nil)
		x, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, next)
		require.NoError(t, err)
		require.NoError(t, x.Start(t.Context(), h))
		tally := engine.NewTally()
		observe := func(ahead time.Duration) {
			tally.Reset()
			tally.Service("checkout")
			tally.Instance("pod-1")
			tally.Observe(1, epoch.Add(ahead).UnixNano())
			engine.Commit(tally, epoch)
		}
		observe(30 * time.Second)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		require.Zero(t, sink.LogRecordCount())
		refuse = false
		observe(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 2, sink.LogRecordCount())
		records := sink.AllLogs()[0].ResourceLogs()
		first := records.At(0).ScopeLogs().At(0).LogRecords().At(0)
		assert.Equal(t, map[string]any{"service.name": "checkout", "service.instance.id": "collector-1"}, records.At(0).Resource().Attributes().AsRaw())
		assert.Equal(t, "slo.audit", first.EventName())
		assert.Equal(t, plog.SeverityNumberWarn, first.SeverityNumber())
		assert.Equal(t, "Service checkout (pod-1): its events are 30s ahead of this collector's clock.", first.Body().Str())
		assert.Equal(t, map[string]any{"slo.audit.check": "clock_skew", "slo.audit.state": "open", "slo.audit.instance": "pod-1"}, first.Attributes().AsRaw())
		second := records.At(1).ScopeLogs().At(0).LogRecords().At(0)
		assert.Equal(t, plog.SeverityNumberInfo, second.SeverityNumber())
		assert.Equal(t, "ended", second.Attributes().AsRaw()["slo.audit.state"])
		require.NoError(t, x.Shutdown(t.Context()))
	})
}

// SPDX-License-Identifier: Apache-2.0

package sloconnector

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/connector/sloconnector/internal/metadatatest"
	"github.com/pitwall-io/pitwall/internal/slo"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// book is an slo extension without the extension.
type book struct {
	component.StartFunc
	component.ShutdownFunc
	engine *slo.Engine
}

func (b *book) Engine() *slo.Engine    { return b.engine }
func (b *book) Statuses() []slo.Status { return b.engine.Statuses() }

func (b *book) Commit(_ context.Context, t *slo.Tally, now time.Time) { b.engine.Commit(t, now) }
func (b *book) Sync(context.Context)                                  {}

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func newBook(t *testing.T, profile slo.Profile) (*slo.Engine, host) {
	t.Helper()
	settings := slo.DefaultSettings()
	settings.Profile = profile
	engine, err := slo.New(settings, []slo.Objective{{
		Name: "checkout-availability", Target: 0.99, Window: slo.Duration(30 * slo.Day), MaxGroups: 10, Owner: "team", Runbook: "https://r",
		GroupBy: []string{"service.name", "service.namespace", "http.route"}, Indicator: slo.Indicator{Kind: slo.IndicatorSpans},
	}})
	require.NoError(t, err)
	return engine, host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("slo"): &book{engine: engine}}}
}

// feed counts one event a second from a service, all bad or all good.
func feed(engine *slo.Engine, from time.Time, n int, bad bool) {
	tally := engine.NewTally()
	for i := range n {
		tally.Reset()
		at := from.Add(time.Duration(i) * time.Second).UnixNano()
		entry := tally.Entry(0, []string{"checkout", "shop", "/pay"})
		entry.Add(tally.Slice(at), at, bad, slo.One)
		entry.AddExemplar(at, slo.TraceID{1, byte(i)})
		good := slo.One
		if bad {
			good = 0
		}
		entry.AddContribution(tally.Intern(1, "2.0"), good, slo.One-good)
		tally.Observe(1, at)
		engine.Commit(tally, time.Unix(0, at))
	}
}

type collector struct {
	factory connector.Factory
	set     connector.Settings
	cfg     component.Config
}

func newCollector(tel *componenttest.Telemetry) collector {
	c := collector{factory: NewFactory(), set: connectortest.NewNopSettings(metadata.Type)}
	c.set.ID = component.NewID(metadata.Type)
	c.cfg = c.factory.CreateDefaultConfig()
	if tel != nil {
		c.set.TelemetrySettings = tel.NewTelemetrySettings()
	}
	res := pcommon.NewResource()
	res.Attributes().PutStr("service.instance.id", "collector-1")
	c.set.Resource = res
	return c
}

func (c collector) all(t *testing.T, metrics consumer.Metrics, logs consumer.Logs) []component.Component {
	t.Helper()
	var out []component.Component
	add := func(x component.Component, err error) {
		require.NoError(t, err)
		out = append(out, x)
	}
	x1, err := c.factory.CreateTracesToMetrics(t.Context(), c.set, c.cfg, metrics)
	add(x1, err)
	x2, err := c.factory.CreateLogsToMetrics(t.Context(), c.set, c.cfg, metrics)
	add(x2, err)
	x3, err := c.factory.CreateMetricsToMetrics(t.Context(), c.set, c.cfg, metrics)
	add(x3, err)
	x4, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, logs)
	add(x4, err)
	x5, err := c.factory.CreateLogsToLogs(t.Context(), c.set, c.cfg, logs)
	add(x5, err)
	x6, err := c.factory.CreateMetricsToLogs(t.Context(), c.set, c.cfg, logs)
	add(x6, err)
	return out
}

// total sums slo.events over everything a sink got.
func total(sink *consumertest.MetricsSink) (good, bad float64) {
	for _, md := range sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != "slo.events" {
					continue
				}
				for _, dp := range m.Sum().DataPoints().All() {
					if v, _ := dp.Attributes().Get("slo.verdict"); v.Str() == "good" {
						good += dp.DoubleValue()
					} else {
						bad += dp.DoubleValue()
					}
				}
			}
		}
	}
	return good, bad
}

func TestManyInstancesEmitTheBookOnceAndLoseNothingAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, h := newBook(t, slo.Demo())
		metrics, logs := new(consumertest.MetricsSink), new(consumertest.LogsSink)
		instances := newCollector(nil).all(t, metrics, logs)
		for _, x := range instances {
			require.NoError(t, x.Start(t.Context(), h))
		}
		feed(engine, epoch, 50, false)
		feed(engine, epoch.Add(50*time.Second), 30, true)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		good, bad := total(metrics)
		assert.Equal(t, [2]float64{50, 30}, [2]float64{good, bad})
		require.Equal(t, 1, logs.LogRecordCount())

		feed(engine, epoch.Add(80*time.Second), 5, false)
		for i, x := range instances {
			require.NoError(t, x.Shutdown(t.Context()))
			if i == 0 {
				feed(engine, epoch.Add(85*time.Second), 5, false) // another pipeline still drains
			}
		}
		good, bad = total(metrics)
		assert.Equal(t, [2]float64{60, 30}, [2]float64{good, bad})
		assert.Equal(t, 1, logs.LogRecordCount())
	})
}

func TestAnAlertLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, h := newBook(t, slo.Demo())
		logs := new(consumertest.LogsSink)
		c := newCollector(nil)
		x, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, logs)
		require.NoError(t, err)
		require.NoError(t, x.Start(t.Context(), h))
		before := time.Now()
		feed(engine, epoch, 40, true)
		synctest.Wait()
		assert.Equal(t, before, time.Now(), "no timer was waited for")
		require.Equal(t, 1, logs.LogRecordCount())
		rl := logs.AllLogs()[0].ResourceLogs().At(0)
		assert.Equal(t, map[string]any{
			"service.name": "checkout", "service.namespace": "shop", "service.instance.id": "collector-1",
		}, rl.Resource().Attributes().AsRaw())
		record := rl.ScopeLogs().At(0).LogRecords().At(0)
		assert.Equal(t, "slo.alert", record.EventName())
		assert.Equal(t, plog.SeverityNumberError, record.SeverityNumber())
		assert.Equal(t, "page", record.SeverityText())
		assert.Contains(t, record.Body().Str(), "checkout-availability of checkout spends its error budget 100 times as fast as allowed over 3m")
		assert.Contains(t, record.Body().Str(), "Profile demo")
		assert.Equal(t, before.UnixNano(), record.ObservedTimestamp().AsTime().UnixNano())
		at := record.Timestamp().AsTime()
		assert.WithinRange(t, at, epoch.Add(20*time.Second), epoch.Add(40*time.Second))
		bad := at.Sub(epoch).Seconds() + 1
		raw := record.Attributes().AsRaw()
		ids := raw["slo.exemplar.trace_ids"].([]any)
		assert.GreaterOrEqual(t, len(ids), 3)
		for _, id := range ids {
			decoded, err := hex.DecodeString(id.(string))
			require.NoError(t, err)
			assert.Len(t, decoded, 16)
		}
		delete(raw, "slo.exemplar.trace_ids")
		assert.InDelta(t, 0.17, raw["slo.coverage"], 0.05, "half a minute of three")
		delete(raw, "slo.coverage")
		assert.InDelta(t, -99, raw["slo.error_budget.remaining"], 1e-9)
		delete(raw, "slo.error_budget.remaining")
		for _, burn := range []string{"slo.burn_rate.long", "slo.burn_rate.short"} {
			assert.InDelta(t, 100, raw[burn], 1e-9)
			delete(raw, burn)
		}
		assert.Equal(t, map[string]any{
			"slo.name": "checkout-availability", "slo.group.service.name": "checkout", "slo.group.service.namespace": "shop",
			"slo.group.http.route": "/pay", "slo.alert": "demo-3m", "slo.alert.state": "firing", "slo.alert.severity": "page",
			"slo.alert.started_at": at.UnixNano(), "slo.alert.profile": "demo", "slo.window.long": "3m", "slo.window.short": "30s",
			"slo.burn_rate.threshold": 6.0, "slo.target": 0.99, "slo.events.good": 0.0, "slo.events.bad": bad, "slo.indicator": "spans",
			"slo.objective.window": "30d", "slo.owner": "team", "slo.runbook": "https://r",
			"slo.contributors": []any{map[string]any{"attribute": "service.version", "value": "2.0", "bad": bad, "total": bad, "share": 1.0}},
		}, raw)

		engine.Advance(epoch.Add(5 * time.Minute))
		synctest.Wait()
		require.Equal(t, 3, logs.LogRecordCount(), "the resolution, and the audit's word that the service is silent")
		resolved := logs.AllLogs()[1].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
		assert.Equal(t, plog.SeverityNumberInfo, resolved.SeverityNumber())
		assert.Equal(t, "resolved", resolved.SeverityText())
		raw = resolved.Attributes().AsRaw()
		assert.Equal(t, at.UnixNano(), raw["slo.alert.started_at"])
		assert.Equal(t, "insufficient_data", raw["slo.alert.reason"])
		assert.NotContains(t, raw, "slo.burn_rate.long", "what is not known is absent")
		require.NoError(t, x.Shutdown(t.Context()))
	})
}

func TestRecoveryIsSaid(t *testing.T) {
	engine, _ := newBook(t, slo.Demo())
	feed(engine, epoch, 40, true)
	feed(engine, epoch.Add(40*time.Second), 100, false)
	w := writer{}
	ld := w.logs(engine.TakeTransitions(), epoch)
	require.Equal(t, 2, ld.LogRecordCount())
	record := ld.ResourceLogs().At(1).ScopeLogs().At(0).LogRecords().At(0)
	assert.Contains(t, record.Body().Str(), "is back below the burn rate of 6 over 30s")
	reason, _ := record.Attributes().Get("slo.alert.reason")
	assert.Equal(t, "recovered", reason.Str())
}

func TestATicketIsAWarning(t *testing.T) {
	rule := slo.Rule{Name: "t", Severity: slo.SeverityTicket, Long: slo.Duration(time.Hour), Short: slo.Duration(time.Minute), Burn: 2}
	engine, _ := newBook(t, slo.Custom([]slo.Rule{rule}))
	feed(engine, epoch, 80, true)
	ld := (&writer{}).logs(engine.TakeTransitions(), epoch)
	record := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
	assert.Equal(t, "ticket", record.SeverityText())
	profile, _ := record.Attributes().Get("slo.alert.profile")
	assert.Equal(t, "custom", profile.Str())
}

func TestTheBookAsMetrics(t *testing.T) {
	engine, h := newBook(t, slo.Demo())
	sink := new(consumertest.MetricsSink)
	c := newCollector(nil)
	x, err := c.factory.CreateLogsToMetrics(t.Context(), c.set, c.cfg, sink)
	require.NoError(t, err)
	require.NoError(t, x.Start(t.Context(), h))
	feed(engine, epoch, 90, false)
	feed(engine, epoch.Add(90*time.Second), 10, true)
	require.NoError(t, x.Shutdown(t.Context()))
	require.Len(t, sink.AllMetrics(), 1)
	rm := sink.AllMetrics()[0].ResourceMetrics().At(0)
	assert.Equal(t, "checkout", rm.Resource().Attributes().AsRaw()["service.name"])
	assert.Equal(t, map[string]any{"slo.alert.profile": "demo"}, rm.ScopeMetrics().At(0).Scope().Attributes().AsRaw())
	got := map[string]int{}
	for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
		if m.Name() == "slo.events" {
			assert.Equal(t, pmetric.AggregationTemporalityDelta, m.Sum().AggregationTemporality())
			assert.True(t, m.Sum().IsMonotonic())
			for _, dp := range m.Sum().DataPoints().All() {
				assert.InDelta(t, 5*time.Second, dp.Timestamp().AsTime().Sub(dp.StartTimestamp().AsTime()), float64(time.Millisecond))
				assert.NotZero(t, dp.Timestamp()%1_000_000, "the stamp of the delivery")
			}
			got[m.Name()] = m.Sum().DataPoints().Len()
			continue
		}
		got[m.Name()] = m.Gauge().DataPoints().Len()
		for _, dp := range m.Gauge().DataPoints().All() {
			assert.False(t, math.IsNaN(dp.DoubleValue()) || math.IsInf(dp.DoubleValue(), 0), m.Name())
			assert.Equal(t, epoch.Add(99*time.Second), dp.Timestamp().AsTime(), "event time")
			route, _ := dp.Attributes().Get("slo.group.http.route")
			assert.Equal(t, "/pay", route.Str())
		}
		switch first := m.Gauge().DataPoints().At(0); m.Name() {
		case "slo.compliance":
			assert.InDelta(t, 0.9, first.DoubleValue(), 1e-9)
		case "slo.error_budget.remaining":
			assert.InDelta(t, -9, first.DoubleValue(), 1e-9)
		case "slo.target":
			assert.InDelta(t, 0.99, first.DoubleValue(), 0)
		case "slo.alert.firing":
			assert.InDelta(t, 1, first.DoubleValue(), 0)
		}
	}
	assert.Equal(t, map[string]int{
		"slo.events": 20, "slo.target": 1, "slo.coverage": 1, "slo.compliance": 1, "slo.error_budget.remaining": 1,
		"slo.burn_rate": 2, "slo.alert.firing": 1,
	}, got)
}

func TestWhatWasRefusedIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		engine, h := newBook(t, slo.Demo())
		sink, alerts := new(consumertest.MetricsSink), new(consumertest.LogsSink)
		var refuse atomic.Bool
		refuse.Store(true)
		full := errors.New("queue full")
		metrics, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
			if refuse.Load() {
				return full
			}
			return sink.ConsumeMetrics(ctx, md)
		})
		require.NoError(t, err)
		logs, err := consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
			if refuse.Load() {
				return full
			}
			return alerts.ConsumeLogs(ctx, ld)
		})
		require.NoError(t, err)
		instances := newCollector(tel).all(t, metrics, logs)
		for _, x := range instances {
			require.NoError(t, x.Start(t.Context(), h))
		}
		feed(engine, epoch, 40, true)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		refuse.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, bad := total(sink)
		assert.InDelta(t, 40, bad, 0)
		assert.Equal(t, 1, alerts.LogRecordCount())
		point := func(key, value string, n int64) metricdata.DataPoint[int64] {
			return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String(key, value)), Value: n}
		}
		metadatatest.AssertEqualConnectorSloDeliveryFailures(t, tel, []metricdata.DataPoint[int64]{
			point("signal", "logs", 2), point("signal", "metrics", 1),
		}, metricdatatest.IgnoreTimestamp())
		metadatatest.AssertEqualConnectorSloAlerts(t, tel, []metricdata.DataPoint[int64]{point("state", "firing", 1)}, metricdatatest.IgnoreTimestamp())
		for _, x := range instances {
			require.NoError(t, x.Shutdown(t.Context()))
		}
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}

func TestAReplayThatOutrunsTheTimerLosesNoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, h := newBook(t, slo.Demo())
		sink := new(consumertest.MetricsSink)
		c := newCollector(nil)
		x, err := c.factory.CreateTracesToMetrics(t.Context(), c.set, c.cfg, sink)
		require.NoError(t, err)
		require.NoError(t, x.Start(t.Context(), h))
		before := time.Now()
		for i := range 10 {
			feed(engine, epoch.Add(time.Duration(i)*5000*time.Second), 5000, false) // 1,000 slices
			synctest.Wait()
		}
		assert.Equal(t, before, time.Now(), "no timer was waited for")
		require.NoError(t, x.Shutdown(t.Context()))
		good, _ := total(sink)
		assert.InDelta(t, 50_000, good, 0)
		assert.Zero(t, engine.Stats().SlicesDropped)
	})
}

func TestPayloadsAreNeitherReadNorRefused(t *testing.T) {
	x := &instance{}
	assert.NoError(t, x.ConsumeTraces(t.Context(), ptrace.NewTraces()))
	assert.NoError(t, x.ConsumeMetrics(t.Context(), pmetric.NewMetrics()))
	assert.NoError(t, x.ConsumeLogs(t.Context(), plog.NewLogs()))
	assert.False(t, x.Capabilities().MutatesData)
}

func TestTheConnectorRefusesToStartWithoutABook(t *testing.T) {
	c := newCollector(nil)
	x, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, consumertest.NewNop())
	require.NoError(t, err)
	assert.ErrorContains(t, x.Start(t.Context(), componenttest.NewNopHost()), "no slo extension is running")
	assert.NoError(t, x.Shutdown(t.Context()))
}

func TestASecondConnectorCannotEmitTheSameBook(t *testing.T) {
	_, h := newBook(t, slo.Demo())
	c := newCollector(nil)
	first, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, first.Start(t.Context(), h))
	c.set.ID = component.MustNewIDWithName("slo", "second")
	second, err := c.factory.CreateTracesToLogs(t.Context(), c.set, c.cfg, consumertest.NewNop())
	require.NoError(t, err)
	assert.ErrorContains(t, second.Start(t.Context(), h), "the book is already emitted by slo")
	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, second.Shutdown(t.Context()))
}

func TestAReloadStartsAgain(t *testing.T) {
	engine, h := newBook(t, slo.Demo())
	c := newCollector(nil)
	for range 3 {
		sink := new(consumertest.MetricsSink)
		x, err := c.factory.CreateTracesToMetrics(t.Context(), c.set, c.cfg, sink)
		require.NoError(t, err)
		require.NoError(t, x.Start(t.Context(), h))
		feed(engine, epoch, 3, false)
		require.NoError(t, x.Shutdown(t.Context()))
		good, _ := total(sink)
		assert.InDelta(t, 3, good, 0)
	}
}

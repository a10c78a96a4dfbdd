// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

const header = "BilledCost,EffectiveCost,ContractedCost,ListCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,BillingAccountId,ProviderName,ServiceName,SubAccountId,Tags\n"

var epoch = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func row(cost, month, day, service string) string {
	return fmt.Sprintf("%[1]s,%[1]s,%[1]s,%[1]s,USD,2026-0%[2]s-01T00:00:00Z,2026-0%[2]s-28T00:00:00Z,2026-0%[2]s-%[3]sT00:00:00Z,2026-0%[2]s-%[3]sT01:00:00Z,acc,AWS,%[4]s,sub,{}\n",
		cost, month, day, service)
}

// sink adds up what it gets, as a backend would, and refuses on demand.
type sink struct {
	consumertest.MetricsSink
	refuse []error
}

func (s *sink) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if len(s.refuse) > 0 {
		err := s.refuse[0]
		s.refuse = s.refuse[1:]
		if err != nil {
			return err
		}
	}
	return s.MetricsSink.ConsumeMetrics(ctx, md)
}

// each calls f for every point.
func (s *sink) each(f func(resource map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint)) {
	for _, md := range s.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				var points pmetric.NumberDataPointSlice
				if m.Type() == pmetric.MetricTypeGauge {
					points = m.Gauge().DataPoints()
				} else {
					points = m.Sum().DataPoints()
				}
				for _, dp := range points.All() {
					f(rm.Resource().Attributes().AsRaw(), m, dp)
				}
			}
		}
	}
}

// total adds up the points of a metric, in decimal.
func (s *sink) total(t *testing.T, name string) string {
	t.Helper()
	var sum money.Amount
	s.each(func(_ map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint) {
		if m.Name() == name {
			a, err := money.FromFloat(dp.DoubleValue())
			require.NoError(t, err)
			sum = sum.Plus(a)
		}
	})
	return sum.String()
}

type rig struct {
	*focusReceiver
	t    *testing.T
	dir  string
	sink *sink
	tel  *componenttest.Telemetry
	at   time.Time
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = t.TempDir()
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	g := &rig{t: t, dir: cfg.Directory, sink: &sink{}, tel: componenttest.NewTelemetry(), at: epoch}
	g.open(cfg, componenttest.NewNopHost())
	return g
}

// open makes a receiver that looks only when told to.
func (g *rig) open(cfg *Config, host component.Host) {
	g.t.Helper()
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type)
	set.TelemetrySettings = g.tel.NewTelemetrySettings()
	r, err := newReceiver(set, cfg, g.sink)
	require.NoError(g.t, err)
	r.now = func() time.Time { return g.at }
	r.store, err = openStore(g.t.Context(), host, cfg, set.ID)
	require.NoError(g.t, err)
	r.files, r.bill, err = r.store.load(g.t.Context(), cfg)
	require.NoError(g.t, err)
	g.focusReceiver = r
}

// put writes a file as of now, and lets an hour pass.
func (g *rig) put(name string, text []byte) {
	g.t.Helper()
	g.at = g.at.Add(time.Hour)
	path := filepath.Join(g.dir, name)
	require.NoError(g.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(g.t, os.WriteFile(path, text, 0o600))
	require.NoError(g.t, os.Chtimes(path, g.at, g.at))
	g.at = g.at.Add(time.Minute)
}

func (g *rig) look() { g.scan(g.t.Context()) }

func (g *rig) outcome(name string) string { return g.files[name].Outcome }

func (g *rig) counter(name string, attrs ...attribute.KeyValue) int64 {
	g.t.Helper()
	m, err := g.tel.GetMetric("otelcol_" + name)
	if err != nil {
		return 0
	}
	set := attribute.NewSet(attrs...)
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		if p.Attributes.Equals(&set) {
			return p.Value
		}
	}
	return 0
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/report"
)

// sighting is one series in a request, on its way to the meter. It counts once the next component accepted the request.
type sighting struct {
	series uint64
	// weight is how many series a backend makes of it.
	weight  uint32
	account account
}

// seriesMeter counts the active series of every account, and what they have cost. A series is active for a window after its last point.
// New series beyond the bound are not told apart and not counted; those that are known stay.
type seriesMeter struct {
	max      int
	window   time.Duration
	perMonth money.Amount

	mu       sync.Mutex // guards everything below
	series   map[uint64]activeSeries
	accounts map[account]*seriesAccount
	priced   time.Time // until when the series are paid for
}

type activeSeries struct {
	account *seriesAccount
	last    int64 // unix seconds
	weight  uint32
}

// seriesAccount is the series of one account: how many are active, and what they cost since the beginning.
type seriesAccount struct {
	active int64
	spent  money.Amount
}

func newSeriesMeter(cfg *TelemetryConfig) (*seriesMeter, error) {
	perMonth, err := money.FromFloat(cfg.Prices["metrics"].PerSeriesMonth)
	if err != nil {
		return nil, err
	}
	return &seriesMeter{
		max: cfg.MaxSeries, window: cfg.ActiveFor, perMonth: perMonth,
		series: map[uint64]activeSeries{}, accounts: map[account]*seriesAccount{},
	}, nil
}

// commit takes the series of one request and returns how many found no room.
func (m *seriesMeter) commit(list []sighting, now time.Time) (refused int64) {
	if len(list) == 0 {
		return 0
	}
	at := now.Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range list {
		s := &list[i]
		known, ok := m.series[s.series]
		if !ok {
			if len(m.series) >= m.max {
				refused++
				continue
			}
			if known.account = m.accounts[s.account]; known.account == nil {
				known.account = &seriesAccount{}
				m.accounts[s.account] = known.account
			}
		}
		known.account.active += int64(s.weight) - int64(known.weight)
		known.last, known.weight = at, s.weight
		m.series[s.series] = known
	}
	return refused
}

// tick forgets series that are no longer active and charges the others for the time since the last tick.
func (m *seriesMeter) tick(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	hours := 0.0
	if !m.priced.IsZero() && now.After(m.priced) {
		hours = now.Sub(m.priced).Hours()
	}
	m.priced = now
	share, err := money.FromFloat(hours / report.HoursPerMonth)
	if err != nil {
		return err
	}
	rate := m.perMonth.Times(share).Round(18)
	for _, a := range m.accounts {
		if a.active > 0 && !rate.IsZero() {
			a.spent = a.spent.Plus(rate.Times(money.FromInt(a.active)))
		}
	}
	oldest := now.Add(-m.window).Unix()
	for series, s := range m.series {
		if s.last < oldest {
			s.account.active -= int64(s.weight)
			delete(m.series, series)
		}
	}
	for a, s := range m.accounts {
		if s.active == 0 && s.spent.IsZero() {
			delete(m.accounts, a)
		}
	}
	return nil
}

// of is the active series of an account and what they have cost.
func (m *seriesMeter) of(a account) (int64, money.Amount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.accounts[a]; ok {
		return s.active, s.spent
	}
	return 0, money.Amount{}
}

func (m *seriesMeter) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.series)
}

// sightings appends the series of a resource: one for every combination of metric and attributes of points.
func sightings(to []sighting, a account, rm pmetric.ResourceMetrics) []sighting {
	resource, _ := newChain().attributes(rm.Resource().Attributes())
	add := func(metric chain, attrs pcommon.Map, weight int) {
		metric, _ = metric.attributes(attrs)
		to = append(to, sighting{series: metric.a ^ metric.b, weight: uint32(max(weight, 1)), account: a})
	}
	for _, sm := range rm.ScopeMetrics().All() {
		for _, m := range sm.Metrics().All() {
			metric := resource.text(sm.Scope().Name()).text(m.Name()).mix(uint64(m.Type()), 0)
			switch m.Type() {
			case pmetric.MetricTypeGauge:
				for _, dp := range m.Gauge().DataPoints().All() {
					add(metric, dp.Attributes(), 1)
				}
			case pmetric.MetricTypeSum:
				for _, dp := range m.Sum().DataPoints().All() {
					add(metric, dp.Attributes(), 1)
				}
			case pmetric.MetricTypeHistogram:
				for _, dp := range m.Histogram().DataPoints().All() {
					add(metric, dp.Attributes(), dp.BucketCounts().Len()+2) // buckets, sum and count
				}
			case pmetric.MetricTypeExponentialHistogram:
				for _, dp := range m.ExponentialHistogram().DataPoints().All() {
					add(metric, dp.Attributes(), 1) // a native histogram
				}
			case pmetric.MetricTypeSummary:
				for _, dp := range m.Summary().DataPoints().All() {
					add(metric, dp.Attributes(), dp.QuantileValues().Len()+2)
				}
			case pmetric.MetricTypeEmpty:
			}
		}
	}
	return to
}

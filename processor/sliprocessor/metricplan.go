// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"fmt"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/condition"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// part is what a metric is to an indicator.
type part int

const (
	partCounter   part = iota // a counter that holds the total and, among its points, the good or the bad events
	partOfRatio               // a counter of good or bad events
	partTotal                 // the counter of all events beside it
	partHistogram             // observations
	partGauge                 // values
)

// metricRule is one metric of one objective.
type metricRule struct {
	objective int
	service   string
	part      part
	metric    *slo.MetricIndicator
	latency   int64 // ns; the threshold of a histogram of durations
	matchers  []matcher
	where     *condition.Point
	groupBy   []int // slots

	// Of partCounter: which of its points are the part (good or bad) events.
	partMatchers []matcher
	partWhere    *condition.Point
}

// metricRules adds the rules of an objective over metrics. A ratio of a counter to itself needs no pairing: each of its points is judged.
func (p *plan) metricRules(i int, o slo.Objective, settings component.TelemetrySettings) error {
	m := o.Indicator.Metric
	add := func(s *slo.MetricSelector, as part) (*metricRule, error) {
		r := &metricRule{
			objective: i, service: o.Service, part: as, metric: m, latency: int64(o.Indicator.Latency), groupBy: p.slotsOf(o.GroupBy),
		}
		var err error
		if r.matchers, err = p.matchersOf(o.Name, s.Match); err != nil {
			return nil, err
		}
		if r.where, err = condition.ForPoints(s.Where, settings); err != nil {
			return nil, fmt.Errorf("objective %s: %w", o.Name, err)
		}
		p.metrics[s.Name] = append(p.metrics[s.Name], r)
		return r, nil
	}
	switch o.Indicator.Kind {
	case slo.IndicatorHistogram:
		_, err := add(m.Value, partHistogram)
		return err
	case slo.IndicatorGauge:
		_, err := add(m.Value, partGauge)
		return err
	}
	side := m.Good
	if side == nil {
		side = m.Bad
	}
	if side.Name != m.Total.Name {
		if _, err := add(side, partOfRatio); err != nil {
			return err
		}
		_, err := add(m.Total, partTotal)
		return err
	}
	r, err := add(m.Total, partCounter)
	if err != nil {
		return err
	}
	if r.partMatchers, err = p.matchersOf(o.Name, side.Match); err != nil {
		return err
	}
	if r.partWhere, err = condition.ForPoints(side.Where, settings); err != nil {
		return fmt.Errorf("objective %s: %w", o.Name, err)
	}
	return nil
}

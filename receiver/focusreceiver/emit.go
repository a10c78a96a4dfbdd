// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

// semantic are the dimensions that have a name in the semantic conventions.
var semantic = map[string]string{
	"Provider": "cloud.provider", "SubAccountId": "cloud.account.id", "RegionId": "cloud.region",
	"AvailabilityZone": "cloud.availability_zone", "ResourceId": "cloud.resource_id",
}

// providers are the values of cloud.provider in the semantic conventions.
var providers = map[string]string{
	"aws": "aws", "amazon web services": "aws", "microsoft": "azure", "microsoft azure": "azure", "azure": "azure",
	"google cloud": "gcp", "google": "gcp", "gcp": "gcp", "oracle": "oracle_cloud", "oracle cloud": "oracle_cloud",
	"alibaba cloud": "alibaba_cloud", "ibm cloud": "ibm_cloud", "tencent cloud": "tencent_cloud",
}

// attributeName is the name of a dimension: that of the semantic conventions, or focus.<column> in lower snake case, or focus.tag.<tag>.
func attributeName(column string) string {
	if name, ok := semantic[column]; ok {
		return name
	}
	if tag, ok := strings.CutPrefix(column, "tag:"); ok {
		return "focus.tag." + tag
	}
	var b strings.Builder
	b.WriteString("focus.")
	for i, c := range column {
		if unicode.IsUpper(c) {
			if i > 0 && column[i-1] != '_' {
				b.WriteByte('_')
			}
			c = unicode.ToLower(c)
		}
		b.WriteRune(c)
	}
	return b.String()
}

func attributeValue(column, value string) string {
	if column == "Provider" {
		if p, ok := providers[strings.ToLower(value)]; ok {
			return p
		}
	}
	return value
}

// names are the attribute names of the dimensions.
func names(cfg *Config) []string {
	out := make([]string, len(cfg.GroupBy))
	for i, column := range cfg.GroupBy {
		out[i] = attributeName(column)
	}
	return out
}

// batch collects changes as metrics: one resource per combination of dimensions.
type batch struct {
	cfg    *Config
	names  []string
	costs  []focus.Cost
	md     pmetric.Metrics
	series map[string]*[focus.Costs]pmetric.NumberDataPointSlice
	points int
}

func newBatch(cfg *Config) *batch {
	b := &batch{cfg: cfg, names: names(cfg)}
	for _, name := range cfg.Costs {
		if cost, ok := costByName(name); ok {
			b.costs = append(b.costs, cost)
		}
	}
	b.reset()
	return b
}

func (b *batch) reset() {
	b.md, b.series, b.points = pmetric.NewMetrics(), map[string]*[focus.Costs]pmetric.NumberDataPointSlice{}, 0
}

// add adds one change.
func (b *batch) add(c *focus.Change) {
	for _, cost := range b.costs {
		value := c.After[cost]
		if b.cfg.Output == Delta {
			value = value.Minus(c.Before[cost])
		}
		if value.Cmp(c.Before[cost]) == 0 && b.cfg.Output == Gauge || value.IsZero() && b.cfg.Output == Delta {
			continue
		}
		b.point(c, cost, value)
	}
}

func (b *batch) point(c *focus.Change, cost focus.Cost, value money.Amount) {
	key := fmt.Sprintf("%q", append([]string{c.Cell.Currency}, c.Cell.Values...)) // quoted, so that no value can pretend to be two
	slices, ok := b.series[key]
	if !ok {
		slices = b.resource(c)
		b.series[key] = slices
	}
	dp := slices[cost].AppendEmpty()
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(c.Cell.Start))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(c.Cell.End))
	dp.SetDoubleValue(value.Float64())
	dp.Attributes().PutStr("cost.currency", c.Cell.Currency)
	dp.Attributes().PutStr("focus.billing_period.start", c.Statement.Start.Format(time.RFC3339))
	b.points++
}

func (b *batch) resource(c *focus.Change) *[focus.Costs]pmetric.NumberDataPointSlice {
	rm := b.md.ResourceMetrics().AppendEmpty()
	for i, value := range c.Cell.Values {
		if value != "" {
			rm.Resource().Attributes().PutStr(b.names[i], attributeValue(b.cfg.GroupBy[i], value))
		}
	}
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	out := &[focus.Costs]pmetric.NumberDataPointSlice{}
	for _, cost := range b.costs {
		m := sm.Metrics().AppendEmpty()
		m.SetName("cost." + cost.String())
		m.SetUnit("{" + c.Cell.Currency + "}")
		m.SetDescription("FOCUS " + cost.String() + " cost of the interval.")
		if b.cfg.Output == Gauge {
			out[cost] = m.SetEmptyGauge().DataPoints()
			continue
		}
		sum := m.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		out[cost] = sum.DataPoints()
	}
	return out
}

// requests splits changes into requests of at most max_points points, plus what one change adds.
func requests(cfg *Config, changes []focus.Change) []pmetric.Metrics {
	var out []pmetric.Metrics
	b := newBatch(cfg)
	flush := func() {
		if b.points == 0 {
			return
		}
		b.md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
			rm.ScopeMetrics().At(0).Metrics().RemoveIf(func(m pmetric.Metric) bool {
				if m.Type() == pmetric.MetricTypeGauge {
					return m.Gauge().DataPoints().Len() == 0
				}
				return m.Sum().DataPoints().Len() == 0
			})
			return false
		})
		out = append(out, b.md)
		b.reset()
	}
	for i := range changes {
		b.add(&changes[i])
		if b.points >= cfg.MaxPoints {
			flush()
		}
	}
	flush()
	return out
}

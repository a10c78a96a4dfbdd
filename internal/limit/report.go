// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"slices"
	"strings"
)

// Report is what one metric wants, what it gets and what would help.
type Report struct {
	Metric string  `json:"metric"`
	Scope  string  `json:"scope"`
	Series int     `json:"series"`
	Limit  int     `json:"limit"`
	Wanted float64 `json:"wanted"`
	// NotSent is how many of the series wanted are not sent.
	NotSent    float64           `json:"series_not_sent"`
	Folded     uint64            `json:"folded_points"`
	Whole      uint64            `json:"folded_whole_points"`
	Attributes []AttributeReport `json:"attributes"`
}

// AttributeReport is the same for one attribute.
type AttributeReport struct {
	Attribute string  `json:"attribute"`
	Values    int     `json:"values"`
	Limit     int     `json:"limit"`
	Wanted    float64 `json:"wanted"`
	Folded    uint64  `json:"folded_points"`
	// Saves is how many series fewer would be sent if the attribute were dropped.
	Saves     float64 `json:"saves_series"`
	Squeezed  bool    `json:"folded_as_a_whole,omitempty"`
	Protected bool    `json:"protected,omitempty"`
}

// Offenders reports the metrics that want most more than they get, worst first, up to limit of them.
func (l *Limiter) Offenders(limit int) []Report {
	all := []Report{}
	for _, m := range l.metrics {
		if m.folded == 0 && m.foldedWhole == 0 && !m.measuring {
			continue
		}
		all = append(all, m.report())
	}
	slices.SortFunc(all, func(a, b Report) int {
		return cmp.Or(cmp.Compare(b.Wanted-float64(b.Series), a.Wanted-float64(a.Series)), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Scope, b.Scope))
	})
	return all[:min(limit, len(all))]
}

// valid makes a text fit for reports: many readers refuse all of them for one text that is not UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (m *Metric) report() Report {
	r := Report{
		Metric: valid(m.key.name), Scope: valid(m.label), Series: len(m.series.seats) + m.overflow, Limit: m.series.limit,
		Wanted: max(m.wanted.estimate(), m.lastWanted, float64(len(m.series.seats))), Folded: m.folded, Whole: m.foldedWhole,
	}
	r.NotSent = max(r.Wanted-float64(r.Series), 0)
	for _, a := range m.list {
		r.Attributes = append(r.Attributes, AttributeReport{
			Attribute: valid(a.key), Values: len(a.values.seats), Limit: a.values.limit, Wanted: max(a.values.wanted(), a.values.lastDemand),
			Folded: a.folded, Saves: max(a.lastSaves, 0), Squeezed: a.squeezed, Protected: a.protected,
		})
	}
	slices.SortFunc(r.Attributes, func(a, b AttributeReport) int {
		return cmp.Or(cmp.Compare(b.Wanted, a.Wanted), cmp.Compare(a.Attribute, b.Attribute))
	})
	return r
}

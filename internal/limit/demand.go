// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// TopicOffenders is the topic on the optimization extension's board under which limiters publish a Demand.
const TopicOffenders = "offenders"

// SchemaOffenders is the value of Demand.Schema.
const SchemaOffenders = "pitwall.offenders/v1"

// Demand is what one limiter is asked for and what it lets through.
type Demand struct {
	Schema string    `json:"schema"`
	At     time.Time `json:"at"`
	// WindowSeconds is the length of a window: what an attribute saves is known at its end.
	WindowSeconds float64 `json:"window_seconds"`
	// Series are sent, overflow series among them; SeriesLimit is limits.total, 0 without one.
	Series      int `json:"series"`
	SeriesLimit int `json:"series_limit,omitempty"`
	// NotSent is how many series more would be sent without the limiter.
	NotSent float64 `json:"series_not_sent"`
	// Metrics are those that want most beyond what they get; Left counts further ones.
	Metrics []Report `json:"metrics"`
	Left    int      `json:"left_out"`
}

// Demand reports on at most limit metrics.
func (l *Limiter) Demand(limit int) Demand {
	all := l.Offenders(len(l.metrics))
	d := Demand{
		Schema: SchemaOffenders, At: time.Unix(0, l.now).UTC(), WindowSeconds: l.settings.Window.Seconds(),
		Series: l.series + l.overflow, Metrics: all[:min(limit, len(all))], Left: max(len(all)-limit, 0),
	}
	if total := l.settings.Limits.Total; total != math.MaxInt {
		d.SeriesLimit = total
	}
	for i := range all {
		d.NotSent += all[i].NotSent
	}
	return d
}

// ParseDemand reads a snapshot of TopicOffenders.
func ParseDemand(body json.RawMessage) (Demand, error) {
	var d Demand
	if err := json.Unmarshal(body, &d); err != nil {
		return Demand{}, fmt.Errorf("snapshot of offenders: %w", err)
	}
	if d.Schema != SchemaOffenders {
		return Demand{}, fmt.Errorf("snapshot of offenders: unknown schema %q", d.Schema)
	}
	return d, nil
}

// Advice is one thing to do about demand.
type Advice struct {
	Metric    string  `json:"metric"`
	Scope     string  `json:"scope"`
	Attribute string  `json:"attribute"`
	Saves     float64 `json:"saves_series"`
	Text      string  `json:"text"`
}

// Advise lists what dropping an attribute would save of the series sent, most first. Attributes that are protected are left out.
func (d *Demand) Advise() []Advice {
	var all []Advice
	for i := range d.Metrics {
		m := &d.Metrics[i]
		for j := range m.Attributes {
			a := &m.Attributes[j]
			if a.Protected || a.Saves < 1 {
				continue
			}
			all = append(all, Advice{
				Metric: m.Metric, Scope: m.Scope, Attribute: a.Attribute, Saves: a.Saves,
				Text: fmt.Sprintf("dropping attribute %s of metric %s of %s saves %.0f series", a.Attribute, m.Metric, m.Scope, a.Saves),
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Advice) int { return cmp.Compare(b.Saves, a.Saves) })
	return all
}

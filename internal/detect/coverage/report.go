// SPDX-License-Identifier: Apache-2.0

package coverage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Report is what was seen in the last hour.
type Report struct {
	// Services are those that report spans or are named as called; Instrumented are those of them that report spans.
	Services, Instrumented int
	// Judged are the traces that were looked at, Whole those of them with a root and every parent, Large those too large to look at.
	Judged, Whole, Large int64
	// Silent are the services that are called and report no span, by name.
	Silent []string
	// Orphans are the services with spans whose parent never came, most first.
	Orphans []Gap
	// OneOf is how many traces there are for each that is followed.
	OneOf int
}

// Gap is a service and how many of its spans lack their parent.
type Gap struct {
	Service string
	Spans   int64
}

// ServicesShare is the share of services that report spans; 1 where none is known.
func (r Report) ServicesShare() float64 { return share(int64(r.Instrumented), int64(r.Services)) }

// WholeShare is the share of the judged traces that are whole; 1 where none was judged.
func (r Report) WholeShare() float64 { return share(r.Whole, r.Judged) }

func share(part, all int64) float64 {
	if all == 0 {
		return 1
	}
	return float64(part) / float64(all)
}

// Report sums up the last hour.
func (d *Detector) Report() Report {
	r := Report{OneOf: 1 << d.shift}
	for _, s := range d.known {
		if s == nil {
			continue
		}
		r.Services++
		if d.now.Sub(s.Traced) < hour {
			r.Instrumented++
		} else {
			r.Silent = append(r.Silent, s.Name)
		}
		var orphans int64
		for _, n := range s.Orphans {
			orphans += n
		}
		if orphans > 0 {
			r.Orphans = append(r.Orphans, Gap{Service: s.Name, Spans: orphans})
		}
	}
	for i := range slots {
		r.Judged += d.judged[i]
		r.Whole += d.whole[i]
		r.Large += d.large[i]
	}
	slices.Sort(r.Silent)
	slices.SortFunc(r.Orphans, func(a, b Gap) int { return cmp.Or(cmp.Compare(b.Spans, a.Spans), cmp.Compare(a.Service, b.Service)) })
	return r
}

// Advance lets event time pass to now, judges what is complete and says whether enough can be seen.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.pass(now)
	d.judge()
	d.forget()
	r := d.Report()
	enough := d.settings
	if !d.since.IsZero() {
		enough.MinServices, enough.MinWhole = min(1, enough.MinServices+enough.Margin), min(1, enough.MinWhole+enough.Margin)
	}
	lacking := r.Judged >= int64(enough.MinTraces) && (r.ServicesShare() < enough.MinServices || r.WholeShare() < enough.MinWhole)
	switch {
	case lacking && d.since.IsZero():
		d.since = now
	case !lacking && d.since.IsZero():
		return nil
	case lacking && !d.news(r, now):
		return nil
	}
	d.said, d.saidServices, d.saidWhole = now, r.ServicesShare(), r.WholeShare()
	e := d.envelope(r, now)
	if !lacking {
		e.State, e.ExpiresAt, d.since = signal.StateResolved, now, time.Time{}
		e.Summary = "Enough of the services and traces can be seen again."
		e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	}
	return []detect.Candidate{{Envelope: e, Reliability: true, Effort: detect.EffortMedium, Exposure: float64(r.Judged)}}
}

// news reports whether there is more to say than was said: a share moved by a point, or half of the validity has passed.
func (d *Detector) news(r Report, now time.Time) bool {
	const point = 0.01
	return now.Sub(d.said) >= d.settings.TTL/2 ||
		math.Abs(r.ServicesShare()-d.saidServices) >= point || math.Abs(r.WholeShare()-d.saidWhole) >= point
}

func (d *Detector) envelope(r Report, now time.Time) signal.Envelope {
	whole := r.WholeShare()
	e := signal.Envelope{
		ID: signal.NewID(signal.KindCoverage, signal.Target{}, nil, d.since), Kind: signal.KindCoverage, Version: signal.Version,
		State: signal.StateFiring, Severity: signal.SeverityInfo,
		Summary: fmt.Sprintf("%d of %d services that are called report spans; %.4g %% of %d traces are whole.",
			r.Instrumented, r.Services, 100*whole, r.Judged),
		Action:     signal.Action{Verb: "instrument", Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 1, Method: "count"},
		Evidence: signal.Evidence{
			Inputs: []string{"traces"}, Coverage: &whole,
			Statistics: map[string]float64{
				"services.known": float64(r.Services), "services.instrumented": float64(r.Instrumented),
				"traces.judged": float64(r.Judged), "traces.whole": float64(r.Whole), "traces.too_large": float64(r.Large),
				"traces.one_of": float64(r.OneOf),
			},
		},
		ValidFrom: d.since, UpdatedAt: now, ExpiresAt: now.Add(d.settings.TTL),
	}
	add := func(attribute, name string) {
		if len(e.Evidence.Contributors) < signal.MaxContributors {
			e.Evidence.Contributors = append(e.Evidence.Contributors, signal.Contributor{Attribute: attribute, Value: signal.CleanText(name, signal.MaxText)})
		}
	}
	for _, name := range r.Silent {
		add("service.peer.name", name)
	}
	for _, gap := range r.Orphans {
		add("service.name", gap.Service)
	}
	return e
}

// SPDX-License-Identifier: Apache-2.0

// Package cardinality tells of attributes that have more values than a limiter lets through.
package cardinality

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Kind is the kind of the signals.
const Kind = "optimization.telemetry.cardinality"

// Settings bound a Detector.
type Settings struct {
	// MaxTargets bounds the attributes that are followed; further ones are left out until one ends.
	MaxTargets int
	// Quiet is how long, in event time, nothing must have been folded before it is over.
	Quiet time.Duration
	// TTL is how long a signal is valid.
	TTL time.Duration
}

// Default returns the settings for everything but the bound.
func Default(maxTargets int) Settings {
	return Settings{MaxTargets: maxTargets, Quiet: 10 * time.Minute, TTL: 30 * time.Minute}
}

// Target is an attribute of a metric of a service. An empty attribute means that whole series are folded.
type Target struct {
	Service, Metric, Attribute string
}

func (t Target) compare(o Target) int {
	return cmp.Or(strings.Compare(t.Service, o.Service), strings.Compare(t.Metric, o.Metric), strings.Compare(t.Attribute, o.Attribute))
}

// episode is a time in which values of a target are folded. Its fields are exported for the snapshot.
type episode struct {
	Target Target
	// Since is when the episode began, Seen when something was folded last.
	Since, Seen time.Time
	// Points counts the folded series' points of the episode.
	Points int64
	said   time.Time
	// fresh says that something was folded since event time was told last.
	fresh bool
}

// Detector follows what is folded. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	episodes map[Target]*episode
}

// New returns a detector that has seen nothing.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, episodes: map[Target]*episode{}}
}

// Targets returns how many targets are followed.
func (d *Detector) Targets() int { return len(d.episodes) }

// Folded takes n points of series of a target whose values are folded. It does not keep the texts it is given.
func (d *Detector) Folded(t Target, n int64) {
	e := d.episodes[t]
	if e == nil {
		if len(d.episodes) >= d.settings.MaxTargets {
			return
		}
		own := Target{strings.Clone(t.Service), strings.Clone(t.Metric), strings.Clone(t.Attribute)}
		e = &episode{Target: own}
		d.episodes[own] = e
	}
	e.Points += n
	e.fresh = true
}

// Advance lets event time pass to now and returns what there is to say, by target.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	var said []detect.Candidate
	for _, t := range slices.SortedFunc(maps.Keys(d.episodes), Target.compare) {
		e := d.episodes[t]
		if e.fresh {
			if e.Since.IsZero() {
				e.Since = now
			}
			e.Seen, e.fresh = now, false
		}
		switch {
		case now.Sub(e.Seen) >= d.settings.Quiet:
			said = append(said, d.compose(e, now, signal.StateResolved))
			delete(d.episodes, t)
		case e.said.IsZero() || now.Sub(e.said) >= d.settings.TTL/2 && e.Seen.Equal(now):
			e.said = now
			said = append(said, d.compose(e, now, signal.StateFiring))
		}
	}
	return said
}

func (d *Detector) compose(e *episode, now time.Time, state signal.State) detect.Candidate {
	target := signal.Target{Service: signal.CleanText(e.Target.Service, signal.MaxText)}
	metric, attribute := signal.CleanText(e.Target.Metric, signal.MaxText), signal.CleanText(e.Target.Attribute, signal.MaxText)
	what := map[string]string{"metric": metric}
	action := signal.Action{Verb: "drop_attribute", Params: what, Alternatives: []string{"template_attribute", "raise_limit"}, Reversible: true, Risk: signal.RiskLow}
	summary := fmt.Sprintf("Attribute %s of metric %s of %s has more values than are let through; the others are folded.", attribute, metric, target.Service)
	if attribute != "" {
		what["attribute"] = attribute
	} else {
		action.Verb, action.Alternatives = "drop_attribute", []string{"raise_limit"}
		summary = fmt.Sprintf("Metric %s of %s has more series than are let through; whole series are folded.", metric, target.Service)
	}
	out := signal.Envelope{
		ID: signal.NewID(Kind, target, what, e.Since), Kind: Kind, Version: signal.Version, State: state, Severity: signal.SeverityInfo, Target: target,
		Summary: signal.CleanText(summary, signal.MaxSummary), Action: action,
		Confidence: signal.Confidence{Value: 1, Method: "observed"},
		Evidence: signal.Evidence{
			Inputs:     []string{"metrics"},
			Statistics: map[string]float64{"points.folded_series": float64(e.Points), "seconds": now.Sub(e.Since).Seconds()},
		},
		ValidFrom: e.Since, UpdatedAt: now, ExpiresAt: now.Add(d.settings.TTL),
	}
	if state != signal.StateFiring {
		out.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
		out.ExpiresAt = now
		out.Summary = signal.CleanText("Nothing of metric "+metric+" of "+target.Service+" has been folded for "+d.settings.Quiet.String()+".", signal.MaxSummary)
	}
	return detect.Candidate{Envelope: out, Effort: detect.EffortLow, Exposure: float64(e.Points)}
}

const snapshotVersion = 1

// Snapshot returns the state in a form that Restore reads. Equal states give equal bytes.
func (d *Detector) Snapshot() ([]byte, error) {
	all := slices.SortedFunc(maps.Values(d.episodes), func(a, b *episode) int { return a.Target.compare(b.Target) })
	return detect.SealJSON(snapshotVersion, all)
}

// Restore replaces the state by that of a snapshot. On an error the state is unchanged. What was firing is said again.
func (d *Detector) Restore(data []byte) error {
	all, err := detect.OpenJSON[[]*episode](snapshotVersion, data)
	if err != nil {
		return err
	}
	again := map[Target]*episode{}
	for _, e := range all {
		if e != nil && !e.Since.IsZero() && len(again) < d.settings.MaxTargets {
			again[e.Target] = e
		}
	}
	d.episodes = again
	return nil
}

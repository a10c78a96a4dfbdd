// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

const (
	// maxChanges bounds the changes that are remembered: those of a large fleet in a quarter of an hour.
	maxChanges = 10_000
	// before and after say which changes may have caused what began at some time: a value's time is that of a whole minute, and a
	// rollout takes a while to show.
	before = 15 * time.Minute
	after  = time.Minute
	// decay is how fast suspicion falls with the time between.
	decay = 5 * time.Minute
	// elsewhere is how suspicious a change of another service is, relative to one of the service itself.
	elsewhere = 0.3
	// rival is how close the second suspect may come to the first before the answer is "ambiguous".
	rival = 0.5
	// grown is by how many times the requests must have grown for what load can do to count as done by load.
	grown = 1.5
	// validity is how long an envelope is valid.
	validity = 30 * time.Minute
)

// suspects are the changes that may have caused a regression, in the order in which they were told.
type suspects struct{ changes []detect.Change }

// suspect is a change with how suspicious it is, in (0, 1].
type suspect struct {
	detect.Change
	score float64
}

// ObserveChange implements detect.ChangeObserver.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.State == "planned" || c.State == "failed" || c.Action == "approve" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.changes) >= maxChanges {
		d.changes = slices.Delete(d.changes, 0, maxChanges/10)
	}
	d.changes = append(d.changes, c)
}

// rank returns the suspects for what began at a service at some time, the most suspicious first. A deployment that was told and also
// seen in telemetry is one.
func (s *suspects) rank(key Key, at time.Time) []suspect {
	var all []suspect
	for _, c := range s.changes {
		gap := at.Sub(c.Time)
		other := func(a, b string) bool { return a != "" && b != "" && a != b }
		if gap > before || gap < -after || other(c.Namespace, key.Namespace) || other(c.Environment, key.Environment) {
			continue
		}
		score := math.Exp(-float64(max(gap, 0)) / float64(decay))
		if c.Service != key.Service {
			score *= elsewhere
		}
		all = append(all, suspect{c, score})
	}
	slices.SortStableFunc(all, func(a, b suspect) int { return cmp.Compare(b.score, a.score) })
	var ranked []suspect
	for _, c := range all {
		if !slices.ContainsFunc(ranked, func(r suspect) bool { return r.same(c.Change) }) {
			ranked = append(ranked, c)
		}
	}
	return ranked
}

func (s *suspect) same(c detect.Change) bool {
	return s.Kind == c.Kind && s.Service == c.Service && s.Version == c.Version && s.Flag == c.Flag && s.Variant == c.Variant &&
		(s.Version != "" || s.Flag != "" || s.ID == c.ID)
}

// tell returns what there is to say about a service that became worse; nil where nothing changed that could be suspected.
func (d *Detector) tell(key Key, series int, p Point, growth float64, at, now time.Time) *open {
	ranked := d.rank(key, at)
	if len(ranked) == 0 {
		return nil
	}
	first := ranked[0]
	doubt := ""
	switch {
	case len(ranked) > 1 && ranked[1].score >= rival*first.score:
		doubt = "ambiguous"
	case series != errorRatio && growth >= grown:
		doubt = "confounded"
	}
	target := signal.Target{
		Service: signal.CleanText(key.Service, signal.MaxText), Namespace: signal.CleanText(key.Namespace, signal.MaxText),
		Environment: signal.CleanText(key.Environment, signal.MaxText),
	}
	name := metrics[series].name
	e := signal.Envelope{
		Kind: signal.KindChangeRegression, Version: signal.Version, State: signal.StateFiring, Severity: signal.SeverityTicket, Target: target,
		Result:     &signal.Result{Value: signal.ResultFail, Reason: "worse"},
		Action:     signal.Action{Verb: "investigate", Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: math.Round(1e4*(1-Window*math.Erfc(math.Abs(p.Z)/math.Sqrt2))) / 1e4, Method: "rank_sum"},
		Evidence: signal.Evidence{Inputs: []string{"spans", "changes"}, Statistics: map[string]float64{
			name + ".before": short(p.Before), name + ".after": short(p.After), "z": short(p.Z),
			"suspects": float64(len(ranked)), "requests.growth": short(growth), "first_suspect.seconds_before": math.Round(at.Sub(first.Time).Seconds()),
		}},
		ValidFrom: at, UpdatedAt: now.UTC(), ExpiresAt: now.Add(validity).UTC(),
	}
	if series == memory || series == cpu {
		e.Evidence.Inputs[0] = "metrics"
	}
	total := 0.0
	for _, c := range ranked {
		total += c.score
	}
	for _, c := range ranked[:min(len(ranked), signal.MaxContributors)] {
		share := short(c.score / total)
		e.CausedBy = append(e.CausedBy, signal.CleanText(c.ID, signal.MaxText))
		e.Evidence.Contributors = append(e.Evidence.Contributors, signal.Contributor{Attribute: "change.id", Value: signal.CleanText(c.ID, signal.MaxText), Share: &share})
	}
	if doubt != "" {
		e.Result = &signal.Result{Value: signal.ResultInconclusive, Reason: doubt}
	} else {
		if first.Service == key.Service {
			e.Target.Revision = signal.CleanText(first.Version, signal.MaxText)
		}
		e.Action = act(&first.Change)
	}
	delta := short(p.After - p.Before)
	e.Expected = &signal.Expected{Metric: name, Delta: &delta}
	e.ID = signal.NewID(e.Kind, target, map[string]string{"metric": name}, at)
	e.Summary = signal.CleanText(fmt.Sprintf("%s became worse at %s: %s went from %.3g to %.3g. %s",
		target.Service, at.Format(time.RFC3339), name, p.Before, p.After, accuse(first, ranked, doubt)), signal.MaxSummary)
	return &open{Point: p, Said: now, Envelope: e}
}

// act recommends to take back the change.
func act(c *detect.Change) signal.Action {
	a := signal.Action{Verb: "rollback", Alternatives: []string{"investigate"}, Reversible: true, Risk: signal.RiskMedium, Params: map[string]string{}}
	switch {
	case c.Kind == detect.FeatureFlag:
		a.Verb = "disable_flag"
		a.Params["flag"] = signal.CleanText(c.Flag, signal.MaxText)
	case c.Kind == detect.Configuration:
		a.Verb = "revert_configuration"
	case c.Version != "":
		a.Params["revision"] = signal.CleanText(c.Version, signal.MaxText)
	}
	a.Params["change"] = signal.CleanText(c.ID, signal.MaxText)
	if c.Service != "" {
		a.Params["service"] = signal.CleanText(c.Service, signal.MaxText)
	}
	return a
}

func accuse(first suspect, ranked []suspect, doubt string) string {
	switch doubt {
	case "ambiguous":
		return fmt.Sprintf("%d changes may have caused it: ambiguous.", len(ranked))
	case "confounded":
		return "Something was changed, but at the same time many more requests came: confounded."
	}
	what := string(first.Kind)
	switch {
	case first.Version != "":
		what = first.Service + " " + first.Version
	case first.Flag != "":
		what = "flag " + first.Flag
	}
	return fmt.Sprintf("The change to suspect is %s, told by %s.", what, cmp.Or(first.Tool, "nobody"))
}

// end returns the last word about a regression.
func (o *open) end(now time.Time) *open {
	e := o.Envelope
	e.State, e.UpdatedAt, e.ExpiresAt = signal.StateResolved, now.UTC(), now.UTC()
	e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	e.Expected = nil
	return &open{Envelope: e}
}

func candidate(o *open) detect.Candidate {
	c := detect.Candidate{Envelope: o.Envelope, Effort: detect.EffortLow, Reliability: true}
	if len(o.Envelope.CausedBy) > 0 {
		c.Cause = o.Envelope.CausedBy[0]
	}
	if o.Envelope.Expected != nil && o.Envelope.Expected.Metric == metrics[latency].name {
		c.Benefit.LatencySeconds = max(*o.Envelope.Expected.Delta, 0)
	}
	return c
}

// short rounds to four digits.
func short(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 4-math.Ceil(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// verdict is what became of one action.
type verdict struct {
	value      signal.ResultValue
	reason     string
	comparison comparison
	objective  string
	// predicted and realised are burn rates that acting should take away, and did.
	predicted, realised *float64
}

// judge compares the events after an action with those before it, on the predicted objective or on all of the service's.
func (d *Detector) judge(now time.Time, p *pending) {
	v := d.compare(p)
	if p.Confounded && v.value != signal.ResultInconclusive {
		v.value, v.reason = signal.ResultInconclusive, "confounded"
	}
	if p.Signal != nil {
		d.learn(p, &v)
	}
	target := p.Target
	if p.Signal != nil {
		target = p.Signal.Target
	}
	d.say(now, target, cmp.Or(p.SignalID, p.ChangeID), p.Signal, p, v)
}

func (d *Detector) compare(p *pending) verdict {
	var objectives []key
	for k := range d.series {
		if k.service == p.Target.Service && (p.Signal == nil || p.Signal.Target.Objective == "" || p.Signal.Target.Objective == k.objective) {
			objectives = append(objectives, k)
		}
	}
	slices.SortFunc(objectives, func(a, b key) int { return cmp.Compare(a.objective, b.objective) })
	found := verdict{value: signal.ResultInconclusive, reason: "no_traffic"}
	for _, k := range objectives {
		s := d.series[k]
		good0, bad0 := s.between(p.At.Add(-d.settings.Window), p.At)
		from := p.At.Add(d.settings.Settle)
		good1, bad1 := s.between(from, from.Add(d.settings.Window))
		c := compare(good0, bad0, good1, bad1)
		if !c.Enough {
			continue
		}
		v := verdict{value: signal.ResultNoEffect, comparison: c, objective: k.objective}
		switch {
		case c.Low > 0:
			v.value = signal.ResultRefuted
		case c.High < 0:
			v.value = signal.ResultConfirmed
		}
		if weight(v.value) > weight(found.value) || weight(v.value) == weight(found.value) && c.Difference > found.comparison.Difference {
			found = v
		}
	}
	return found
}

// weight lets harm to one objective outweigh good to another.
func weight(v signal.ResultValue) int {
	switch v {
	case signal.ResultRefuted:
		return 3
	case signal.ResultConfirmed:
		return 2
	case signal.ResultNoEffect:
		return 1
	default:
		return 0
	}
}

// learn moves the tally of the signal's kind and the breaker, and holds what was realised against what was predicted.
func (d *Detector) learn(p *pending, v *verdict) {
	if v.value == signal.ResultInconclusive {
		return
	}
	t := d.tallies[p.Signal.Kind]
	if t == nil {
		t = &Tally{}
		d.tallies[p.Signal.Kind] = t
	}
	switch v.value {
	case signal.ResultConfirmed:
		t.Confirmed++
		d.breaker.RefutedInARow = 0
	case signal.ResultRefuted:
		t.Refuted++
		d.breaker.RefutedInARow++
	default:
		t.NoEffect++
		d.breaker.RefutedInARow = 0
	}
	if s := p.Signal; s.Burn != nil && s.ErrorRate != nil && *s.ErrorRate < 1 {
		realised := -v.comparison.Difference / (1 - *s.ErrorRate)
		v.predicted, v.realised = new(*s.Burn), &realised
		d.benefit.Predicted += *s.Burn
		d.benefit.Realised += realised
		d.benefit.Regret += max(*s.Burn-realised, 0)
	}
}

// say composes the outcome's signal.
func (d *Detector) say(now time.Time, target signal.Target, subject string, o *open, p *pending, v verdict) {
	if len(d.said) >= d.settings.MaxTargets {
		return
	}
	start := now
	if p != nil {
		start = p.At
	}
	e := signal.Envelope{
		ID:   signal.NewID(signal.KindOutcome, target, map[string]string{"subject": subject}, start),
		Kind: signal.KindOutcome, Version: signal.Version, State: signal.StateResolved, Severity: signal.SeverityInfo, Target: target,
		Action:     signal.Action{Verb: "none", Params: map[string]string{}, Reversible: true, Risk: signal.RiskNone},
		Result:     &signal.Result{Value: v.value, Reason: v.reason},
		Confidence: signal.Confidence{Value: 0.99, Method: "agresti_caffo"},
		Evidence:   signal.Evidence{Inputs: []string{"slo.events"}, Statistics: map[string]float64{}},
		ValidFrom:  start, UpdatedAt: now, ExpiresAt: now,
	}
	if v.objective != "" {
		e.Target.Objective = v.objective
	}
	stats := e.Evidence.Statistics
	if c := v.comparison; c.Enough {
		maps.Copy(stats, map[string]float64{
			"before.bad_ratio": round(c.Before), "after.bad_ratio": round(c.After), "before.events": round(c.EventsBefore), "after.events": round(c.EventsAfter),
			"difference": round(c.Difference), "difference.low": round(c.Low), "difference.high": round(c.High),
		})
	} else {
		e.Confidence = signal.Confidence{Value: 1, Method: "observed"}
	}
	if v.predicted != nil {
		stats["predicted.burn"], stats["realised.burn"] = round(*v.predicted), round(*v.realised)
		stats["regret.burn"] = round(max(*v.predicted-*v.realised, 0))
		if *v.predicted > 0 {
			stats["return"] = round(*v.realised / *v.predicted)
		}
	}
	what := "Signal " + subject
	if o != nil {
		e.Action.Params["signal"], e.Action.Params["kind"], e.Action.Params["verb"] = subject, o.Kind, o.Verb
		stats["confidence"] = round(o.Confidence)
		what = o.Kind + " of " + cmp.Or(target.Service, "all services")
	}
	if p != nil {
		e.CausedBy = []string{p.ChangeID}
		e.Action.Params["change"] = p.ChangeID
		e.Action.Params["actor"] = p.Actor
		if o != nil {
			stats["decision_latency_seconds"] = round(max(p.At.Sub(o.Said).Seconds(), 0))
		} else {
			what = "Change " + p.ChangeID + " of " + cmp.Or(target.Service, "all services")
		}
	}
	e.Summary = signal.CleanText(what+" "+sentence(v), signal.MaxSummary)
	d.said = append(d.said, detect.Candidate{Envelope: e})
}

func sentence(v verdict) string {
	c := v.comparison
	ratios := fmt.Sprintf(": %.3g %% of the events of %s were bad before, %.3g %% after.", 100*c.Before, v.objective, 100*c.After)
	switch v.value {
	case signal.ResultConfirmed:
		return "helped" + ratios
	case signal.ResultRefuted:
		return "did harm" + ratios
	case signal.ResultNoEffect:
		return "changed nothing that can be told" + ratios
	case signal.ResultNotActed:
		return "was not acted on before it ended."
	default:
		return "cannot be judged: " + v.reason + "."
	}
}

// round keeps six significant digits.
func round(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if err != nil || r == 0 {
		return 0
	}
	return r
}

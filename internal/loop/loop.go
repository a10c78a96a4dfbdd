// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"maps"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/plan"
	"github.com/pitwall-io/pitwall/internal/policy"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Loop and say how it decides.
type Settings struct {
	// MaxActive bounds the signals that have not ended, the candidates that are planned, the ended ids that are remembered, and what is
	// remembered of targets.
	MaxActive  int
	Weights    plan.Weights
	Guardrails guardrail.Settings
	// Policies decide after the guardrails; nil has none.
	Policies *policy.Engine
}

// World is what the loop has to know about a target beyond the candidate. A nil function knows nothing.
type World struct {
	// Budget returns the lowest error budget left among a service's objectives; nil when it is not known.
	Budget func(service string) *float64
	// Coverage returns the share of the expected input that arrived: the lower one of all input and of the service's; nil when nothing
	// can be expected yet.
	Coverage func(service string) *float64
	// Criticality returns a service's service.criticality; empty when it is not known.
	Criticality func(service string) string
	// Breaker is what became of earlier actions.
	Breaker guardrail.Breaker
	// Calibrate returns the confidence in a signal of a kind in the light of what became of earlier ones, and how many those are.
	Calibrate func(kind string, confidence float64) (float64, int)
	// Urgent says that this step is between two evaluations: the plan is made anew only if candidates came or went.
	Urgent bool
}

// Loop is the frame's state. It is not safe for concurrent use.
type Loop struct {
	settings Settings
	life     *lifecycle
	// live are the candidates that hold and are planned at every step: those that act, that answer, or that share a cause.
	live map[string]*detect.Candidate
	// flying are the targets for which something is in flight, with the id of its signal.
	flying   map[string]string
	past     *guardrail.Memory
	approved *recent
}

// New returns a loop that has said nothing.
func New(settings Settings) *Loop {
	return &Loop{
		settings: settings, life: newLifecycle(settings.MaxActive), live: map[string]*detect.Candidate{}, flying: map[string]string{},
		past: guardrail.NewMemory(settings.MaxActive), approved: newRecent(settings.MaxActive),
	}
}

// Said is the result of one step.
type Said struct {
	// Signals are the envelopes to send, in order.
	Signals []signal.Envelope
	// Held counts the candidates that were held back, by reason.
	Held map[string]int
}

func (s *Said) say(l *lifecycle, e signal.Envelope) {
	e, held := l.say(e)
	if held != "" {
		s.Held[held]++
		return
	}
	s.Signals = append(s.Signals, e)
}

// ActionApprove is the action of a change record by which a person approves the signal that it names.
const ActionApprove = "approve"

// ObserveChange takes one change; see ActionApprove.
func (l *Loop) ObserveChange(c detect.Change) {
	if c.Action == ActionApprove && c.SignalID != "" && c.State == "succeeded" {
		l.approved.add(c.SignalID)
	}
}

// Step makes signals of the candidates at event time now, plans those that act, holds them against the guardrails, and ends what is
// over. Candidates that only inform come first, in the order given; then the planned ones, best first.
func (l *Loop) Step(now time.Time, candidates []detect.Candidate, world World) Said {
	said := Said{Held: map[string]int{}}
	fresh, before := map[string]bool{}, len(l.live)
	for i := range candidates {
		c := &candidates[i]
		id := c.Envelope.ID
		switch {
		case c.Envelope.State.Ended():
			l.end(&said, c)
		case !planned(c):
			said.say(l.life, c.Envelope)
		case l.life.ended.has(id):
			said.Held[ReasonNoTransition]++
		case l.live[id] == nil && len(l.live) >= l.settings.MaxActive:
			said.Held[ReasonLimit]++
		default:
			l.live[id] = c
			fresh[id] = true
		}
	}
	if !world.Urgent || len(fresh) > 0 || len(l.live) < before {
		l.sayPlanned(&said, now, world, fresh)
	}
	for _, e := range l.life.expire(now) {
		delete(l.live, e.ID)
		said.Signals = append(said.Signals, e)
	}
	maps.DeleteFunc(l.live, func(_ string, c *detect.Candidate) bool { return c.Envelope.ExpiresAt.Before(now) })
	maps.DeleteFunc(l.flying, func(_, id string) bool { return l.live[id] == nil })
	return said
}

// planned reports whether a candidate is part of the plan; all others are said as they are.
func planned(c *detect.Candidate) bool {
	return plan.Acting(c.Envelope.Action) || c.Envelope.Result != nil || c.Cause != ""
}

// end says the last envelope of a signal, with the guardrails of the one before it.
func (l *Loop) end(said *Said, c *detect.Candidate) {
	delete(l.live, c.Envelope.ID)
	e := c.Envelope
	if old := l.life.open[e.ID]; old != nil {
		e.Guardrails = old.Envelope.Guardrails
	}
	said.say(l.life, e)
}

func (l *Loop) sayPlanned(said *Said, now time.Time, world World, fresh map[string]bool) {
	if len(l.live) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(l.live))
	list := make([]*detect.Candidate, len(ids))
	for i, id := range ids {
		list[i] = l.live[id]
	}
	for _, item := range plan.Plan(l.settings.Weights, list, l.flying) {
		id := item.Candidate.Envelope.ID
		if item.MergedInto != "" {
			l.merged(said, now, &item, fresh[id])
			continue
		}
		e := l.rule(said, now, world, &item)
		if old := l.life.open[id]; old != nil {
			if !fresh[id] {
				// Nothing new was found; only what stands around it may have changed.
				e.UpdatedAt = laterOf(now, e.UpdatedAt)
				if !news(&old.Envelope, &e) || e.UpdatedAt.Sub(old.Envelope.UpdatedAt) > 0 && onlyTime(&old.Envelope, &e) {
					continue
				}
			}
		} else if !fresh[id] && l.life.ended.has(id) {
			continue
		}
		said.say(l.life, e)
	}
}

// onlyTime reports whether e differs from old in time alone, as far as consumers act on it.
func onlyTime(old, e *signal.Envelope) bool {
	same := *e
	same.UpdatedAt = old.UpdatedAt
	return !news(old, &same)
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// merged ends a signal that another now speaks for. One that was never said is held back, and stays in the plan in case that other
// one ends first.
func (l *Loop) merged(said *Said, now time.Time, item *plan.Item, fresh bool) {
	old := l.life.open[item.Candidate.Envelope.ID]
	if old == nil {
		if fresh {
			said.Held[ReasonMerged]++
		}
		return
	}
	e := old.Envelope
	e.State, e.UpdatedAt = signal.StateSuperseded, laterOf(now, e.UpdatedAt)
	e.Update++
	e.Guardrails.Inputs = maps.Clone(e.Guardrails.Inputs)
	if e.Guardrails.Inputs == nil {
		e.Guardrails.Inputs = map[string]string{}
	}
	e.Guardrails.Inputs["planner.merged_into"] = item.MergedInto
	e.Action, e.Expected = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}, nil
	delete(l.live, e.ID)
	said.say(l.life, e)
}

// rule returns the candidate's envelope with what the planner and the guardrails have to say.
func (l *Loop) rule(said *Said, now time.Time, world World, item *plan.Item) signal.Envelope {
	c := calibrated(item.Candidate, world)
	e := c.Envelope
	if old := l.life.open[e.ID]; old != nil {
		e.Supersedes = appendNew(e.Supersedes, old.Envelope.Supersedes)
	}
	e.Supersedes = appendNew(e.Supersedes, item.Supersedes)
	facts := guardrail.Facts{Now: now, Candidate: *c, Holder: item.Holder, Breaker: world.Breaker, Approved: l.approved.has(e.ID)}
	if world.Coverage != nil {
		facts.Coverage = world.Coverage(e.Target.Service)
	}
	if e.Result != nil && facts.Coverage != nil && *facts.Coverage < l.settings.Guardrails.MinCoverage {
		blindfold(&e)
		return e
	}
	if !plan.Acting(e.Action) {
		return e
	}
	if world.Budget != nil {
		facts.Budget = world.Budget(e.Target.Service)
	}
	if world.Criticality != nil {
		facts.Criticality = signal.CleanText(world.Criticality(e.Target.Service), signal.MaxText)
	}
	key := plan.TargetKey(e.Target) + "\x00" + e.Kind
	facts.Past = l.past.Past[key]
	ruling := guardrail.Evaluate(l.settings.Guardrails, facts)
	e.Guardrails = signal.Guardrails{Evaluated: ruling.Evaluated, BlockedBy: ruling.BlockedBy, Inputs: ruling.Inputs}
	if told, ok := l.decide(&e, &facts); ok && (l.life.open[told.ID] == nil && !l.life.ended.has(told.ID)) {
		said.say(l.life, told)
	}
	if len(e.Guardrails.BlockedBy) == 0 {
		l.past.Remember(key, c, now)
		l.flying[plan.TargetKey(e.Target)] = e.ID
		return e
	}
	if old := l.life.open[e.ID]; old == nil || old.Envelope.State == signal.StatePending {
		// It has never been free to be acted on.
		e.State = signal.StatePending
	}
	return e
}

// calibrated returns the candidate with the confidence that its kind has earned.
func calibrated(c *detect.Candidate, world World) *detect.Candidate {
	if world.Calibrate == nil {
		return c
	}
	value, n := world.Calibrate(c.Envelope.Kind, c.Envelope.Confidence.Value)
	if n == 0 {
		return c
	}
	own := *c
	own.Envelope.Evidence.Statistics = maps.Clone(c.Envelope.Evidence.Statistics)
	if own.Envelope.Evidence.Statistics == nil {
		own.Envelope.Evidence.Statistics = map[string]float64{}
	}
	if stats := own.Envelope.Evidence.Statistics; len(stats) <= signal.MaxStatistics-2 {
		stats["calibration.outcomes"], stats["calibration.from"] = float64(n), c.Envelope.Confidence.Value
	}
	own.Envelope.Confidence.Value = value
	return &own
}

// blindfold makes an answer that was given with too little input none at all.
func blindfold(e *signal.Envelope) {
	e.Result = &signal.Result{Value: signal.ResultInconclusive, Reason: "telemetry_gap"}
	e.Action = signal.Action{Verb: "hold", Reversible: true, Risk: signal.RiskNone}
	e.Guardrails = signal.Guardrails{Evaluated: []string{guardrail.Blind}, BlockedBy: []string{guardrail.Blind}}
	e.Summary = signal.CleanText("Too little telemetry arrives to conclude anything about "+e.Target.Service+".", signal.MaxSummary)
}

func appendNew(list, more []string) []string {
	list = slices.Clone(list)
	for _, one := range more {
		if !slices.Contains(list, one) && len(list) < signal.MaxList {
			list = append(list, one)
		}
	}
	return list
}

// Active returns how many signals have not ended.
func (l *Loop) Active() int { return len(l.life.open) }

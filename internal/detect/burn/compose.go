// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// budgetMetric is the metric the detector's predictions are about.
const budgetMetric = "slo.error_budget.remaining"

// freezeBelow is the share of the error budget below which freezing changes is worth considering.
const freezeBelow = 0.25

// compose builds the episode's next envelope from the alert that speaks for it.
func (d *Detector) compose(ep *episode, a Alert, state signal.State, at time.Time) (signal.Envelope, error) {
	last := ep.Envelope
	if !last.State.CanBecome(state) {
		return signal.Envelope{}, fmt.Errorf("%w: %s to %s", signal.ErrNoTransition, last.State, state)
	}
	e := signal.Envelope{
		ID: last.ID, Kind: signal.KindSLOBurn, Version: signal.Version, State: state, Update: last.Update + 1,
		Severity:  a.Severity,
		ValidFrom: last.ValidFrom.UTC(), UpdatedAt: at.UTC(), ExpiresAt: at.Add(d.settings.TTL).UTC(),
		Owner:   signal.CleanText(a.Owner, signal.MaxText),
		Runbook: signal.CleanText(a.Runbook, signal.MaxURL),
		Budget:  &signal.Budget{Remaining: rounded(a.BudgetRemaining), Burn: rounded(a.LongBurn)},
	}
	if e.ValidFrom.After(e.UpdatedAt) {
		e.UpdatedAt = e.ValidFrom
	}
	e.Target, e.Evidence.Withheld = d.target(a)
	d.fillEvidence(&e.Evidence, ep, a, state)
	e.Action = action(a, e.Evidence.Contributors, state)
	e.Confidence = confidence(a)
	if state == signal.StateFiring {
		e.Expected = expected(a, e.UpdatedAt)
	} else {
		// An ended signal says how sure the last firing was, and shows its traces when the end brought none.
		e.Confidence = last.Confidence
		if len(e.Evidence.Exemplars) == 0 {
			e.Evidence.Exemplars = last.Evidence.Exemplars
		}
		if len(e.Evidence.Contributors) == 0 {
			e.Evidence.Contributors = last.Evidence.Contributors
		}
		e.ExpiresAt = e.UpdatedAt
	}
	e.Summary = signal.CleanText(summary(&e, a, d.settings.TTL), signal.MaxSummary)
	e, err := signal.Bound(e)
	if err != nil {
		return signal.Envelope{}, err
	}
	return e, e.Validate()
}

// target names what may be named; the names of the other group attributes are returned.
func (d *Detector) target(a Alert) (signal.Target, []string) {
	t := signal.Target{
		Service:     signal.CleanText(a.Service, signal.MaxText),
		Namespace:   signal.CleanText(a.Namespace, signal.MaxText),
		Environment: signal.CleanText(a.Environment, signal.MaxText),
		Objective:   signal.CleanText(a.Objective, signal.MaxText),
	}
	var withheld []string
	for _, name := range slices.Sorted(maps.Keys(a.Group)) {
		if !d.settings.Allow.Allows(name) || len(t.Attributes) >= signal.MaxAttributes {
			withheld = withhold(withheld, name)
			continue
		}
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		t.Attributes[signal.CleanText(name, signal.MaxText)] = signal.CleanText(a.Group[name], signal.MaxText)
	}
	return t, withheld
}

func (d *Detector) fillEvidence(ev *signal.Evidence, ep *episode, a Alert, state signal.State) {
	ev.Profile = signal.CleanText(a.Profile, signal.MaxText)
	if a.Indicator != "" {
		ev.Inputs = []string{signal.CleanText(a.Indicator, signal.MaxText)}
	}
	rules := []Alert{a}
	if state == signal.StateFiring {
		rules = ep.sorted()
	}
	for _, rule := range rules {
		ev.Windows = append(ev.Windows, windows(rule)...)
	}
	ev.Statistics = statistics(a)
	ev.Coverage = rounded(a.Coverage)
	for _, rule := range rules {
		for _, id := range rule.TraceIDs {
			x := signal.Exemplar{TraceID: id}
			if len(ev.Exemplars) < maxExemplars && !slices.Contains(ev.Exemplars, x) {
				ev.Exemplars = append(ev.Exemplars, x)
			}
		}
	}
	for _, c := range a.Contributors {
		if !d.settings.Allow.Allows(c.Attribute) {
			ev.Withheld = withhold(ev.Withheld, c.Attribute)
			continue
		}
		if len(ev.Contributors) < maxContributors {
			ev.Contributors = append(ev.Contributors, signal.Contributor{
				Attribute: c.Attribute, Value: signal.CleanText(c.Value, signal.MaxText),
				Bad: rounded(c.Bad), Total: rounded(c.Total), Share: rounded(c.Share),
			})
		}
	}
}

// What one envelope shows at most.
const (
	maxExemplars    = 5
	maxContributors = 5
)

func withhold(names []string, name string) []string {
	name = signal.CleanText(name, signal.MaxText)
	if name == "" || slices.Contains(names, name) || len(names) >= signal.MaxList {
		return names
	}
	return append(names, name)
}

func windows(a Alert) []signal.Window {
	rule := signal.CleanText(a.Rule, signal.MaxText)
	var ws []signal.Window
	if a.LongWindow != "" {
		ws = append(ws, signal.Window{Rule: rule, Window: signal.CleanText(a.LongWindow, signal.MaxText), BurnRate: rounded(a.LongBurn), Threshold: rounded(a.Threshold)})
	}
	if a.ShortWindow != "" {
		ws = append(ws, signal.Window{Rule: rule, Window: signal.CleanText(a.ShortWindow, signal.MaxText), BurnRate: rounded(a.ShortBurn), Threshold: rounded(a.Threshold)})
	}
	return ws
}

func statistics(a Alert) map[string]float64 {
	stats := map[string]float64{}
	put := func(name string, v *float64) {
		if v = rounded(v); v != nil {
			stats[name] = *v
		}
	}
	put("target", a.Target)
	put("events.good", a.Good)
	put("events.bad", a.Bad)
	if a.Good != nil && a.Bad != nil && *a.Good+*a.Bad > 0 {
		ratio := *a.Bad / (*a.Good + *a.Bad)
		put("bad_ratio", &ratio)
	}
	if len(stats) == 0 {
		return nil
	}
	return stats
}

// action recommends to look, never more: nothing here has tied the burn to a change. What a contributor points at is an alternative.
func action(a Alert, contributors []signal.Contributor, state signal.State) signal.Action {
	if state != signal.StateFiring {
		return signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	}
	act := signal.Action{Verb: "investigate", Params: map[string]string{"urgency": "this_week"}, Reversible: true, Risk: signal.RiskNone}
	if a.Severity == signal.SeverityPage {
		act.Params["urgency"] = "now"
	}
	offer := func(verb string) {
		if !slices.Contains(act.Alternatives, verb) {
			act.Alternatives = append(act.Alternatives, verb)
		}
	}
	for _, c := range contributors {
		if !disproportionate(c, a) {
			continue
		}
		switch {
		case c.Attribute == "service.version" || c.Attribute == "container.image.tag":
			offer("rollback")
		case strings.HasPrefix(c.Attribute, "feature_flag."):
			offer("disable_flag")
		}
	}
	if a.BudgetRemaining != nil && *a.BudgetRemaining < freezeBelow {
		offer("freeze_changes")
	}
	return act
}

// disproportionate reports whether a contributor has clearly more of the bad events than of all events. The only version of a service
// has all bad events, and that says nothing about it.
func disproportionate(c signal.Contributor, a Alert) bool {
	if c.Share == nil || c.Total == nil || a.Good == nil || a.Bad == nil {
		return false
	}
	return *c.Share*(*a.Good+*a.Bad) >= minLift**c.Total
}

// minLift is how many times a contributor's part in the bad events exceeds its part in all events before an action on it is offered.
const minLift = 1.5

// confidence is the posterior probability that the bad ratio behind the long window truly exceeds what the rule tolerates.
func confidence(a Alert) signal.Confidence {
	unknown := signal.Confidence{Value: 0.5, Method: "threshold_only"}
	if a.Good == nil || a.Bad == nil || a.Target == nil || a.Threshold == nil || *a.Good < 0 || *a.Bad < 0 || *a.Good+*a.Bad <= 0 {
		return unknown
	}
	p := exceeds(*a.Bad, *a.Good, *a.Threshold*(1-*a.Target))
	value := rounded(&p)
	if value == nil {
		return unknown
	}
	return signal.Confidence{Value: min(max(*value, 0), 1), Method: "beta_posterior"}
}

// maxHorizon is the farthest prediction worth making.
const maxHorizon = 10 * 365 * 24 * time.Hour

// expected predicts when the budget is spent: a burn rate of b spends the share b ÷ window of the budget in a unit of time.
func expected(a Alert, now time.Time) *signal.Expected {
	if a.BudgetRemaining == nil || a.LongBurn == nil || *a.LongBurn <= 0 || a.ObjectiveWindow <= 0 {
		return nil
	}
	x := &signal.Expected{Metric: budgetMetric}
	remaining := max(*a.BudgetRemaining, 0)
	seconds := math.Round(remaining * a.ObjectiveWindow.Seconds() / *a.LongBurn)
	if seconds > maxHorizon.Seconds() {
		return nil
	}
	at := now.Add(time.Duration(seconds) * time.Second)
	x.HorizonSeconds, x.At = &seconds, &at
	if remaining > 0 {
		loss := -remaining
		x.Delta = rounded(&loss)
	}
	return x
}

func summary(e *signal.Envelope, a Alert, ttl time.Duration) string {
	var b strings.Builder
	if e.Evidence.Profile == "demo" {
		b.WriteString("[demo windows] ")
	}
	b.WriteString(e.Target.Objective)
	if e.Target.Service != "" {
		b.WriteString(" of " + e.Target.Service)
	}
	switch e.State {
	case signal.StateResolved:
		b.WriteString(" no longer burns its error budget too fast.")
		return b.String()
	case signal.StateExpired:
		fmt.Fprintf(&b, " was last seen burning its error budget %s ago; nothing has been heard of it since.", human(ttl))
		return b.String()
	}
	if e.Budget.Burn != nil {
		fmt.Fprintf(&b, " burns its error budget %s times as fast as it may", short(*e.Budget.Burn))
	} else {
		b.WriteString(" burns its error budget too fast")
	}
	if a.LongWindow != "" {
		b.WriteString(" over " + a.LongWindow)
	}
	if r := e.Budget.Remaining; r != nil && *r <= 0 {
		b.WriteString("; the budget is spent")
	} else if r != nil {
		fmt.Fprintf(&b, "; %s %% of it is left", short(100**r))
		if e.Expected != nil {
			fmt.Fprintf(&b, " and will be spent in %s at this rate", human(time.Duration(*e.Expected.HorizonSeconds)*time.Second))
		}
	}
	b.WriteString(".")
	return b.String()
}

// short prints three significant digits.
func short(v float64) string {
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// human prints the two largest units of a duration.
func human(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return d.String()
	}
}

// rounded keeps six significant digits: more are noise to a reader, and fewer hide differences.
func rounded(v *float64) *float64 {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return nil
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(*v, 'g', 6, 64), 64)
	if err != nil || math.IsInf(r, 0) {
		return nil
	}
	if r == 0 {
		r = 0 // no negative zero in JSON
	}
	return &r
}

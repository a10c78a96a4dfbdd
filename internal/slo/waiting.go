// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// storedTransition is a Transition on disk.
type storedTransition struct {
	Digest              string
	Group               []byte
	Rule                Rule
	Profile             string
	Firing              bool
	Reason              ResolveReason
	At, StartedAt       int64
	BurnLong, BurnShort *float64
	Threshold           float64
	BudgetRemaining     *float64
	Coverage            float64
	Good, Bad           float64
	Exemplars           []TraceID
	Contributors        []Contributor
}

// encodeAlerts writes the transitions nobody has got yet.
func (e *Engine) encodeAlerts() ([]byte, error) {
	waiting := slices.Concat(e.handedOut, e.transitions)
	out := make([]storedTransition, 0, len(waiting))
	for _, t := range waiting {
		out = append(out, storedTransition{
			Digest: t.digest, Group: []byte(t.key), Rule: t.Rule, Profile: t.Profile, Firing: t.Firing, Reason: t.Reason,
			At: t.At.UnixNano(), StartedAt: t.StartedAt.UnixNano(), BurnLong: t.BurnLong, BurnShort: t.BurnShort, Threshold: t.Threshold,
			BudgetRemaining: t.BudgetRemaining, Coverage: t.Coverage, Good: t.Good, Bad: t.Bad,
			Exemplars: t.Exemplars, Contributors: t.Contributors,
		})
	}
	return json.Marshal(out)
}

func (e *Engine) restoreAlerts(get func(string) ([]byte, error)) (damaged []error, err error) {
	body, err := open(get, alertsKey)
	var stored []storedTransition
	if err == nil && body != nil && json.Unmarshal(body, &stored) != nil {
		err = ErrDamaged
	}
	if errors.Is(err, ErrDamaged) {
		return []error{fmt.Errorf("part %s: %w", alertsKey, err)}, nil
	}
	for _, s := range stored {
		at := slices.IndexFunc(e.objectives, func(o *objective) bool { return o.digest == s.Digest && !o.retired })
		if at < 0 {
			continue
		}
		o := e.objectives[at]
		values, ok := parseGroupKey(string(s.Group), len(o.GroupBy))
		if !ok {
			continue
		}
		g := &group{values: values}
		e.transitions = append(e.transitions, Transition{
			Objective: o.Objective, Service: o.service(g), Group: o.group(g), Profile: s.Profile, Rule: s.Rule, Firing: s.Firing, Reason: s.Reason,
			At: unix(s.At), StartedAt: unix(s.StartedAt), BurnLong: s.BurnLong, BurnShort: s.BurnShort, Threshold: s.Threshold,
			BudgetRemaining: s.BudgetRemaining, Coverage: s.Coverage, Good: s.Good, Bad: s.Bad,
			Exemplars: s.Exemplars, Contributors: s.Contributors,
			digest: s.Digest, key: string(s.Group),
		})
	}
	return nil, err
}

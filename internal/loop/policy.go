// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"cmp"
	"fmt"

	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/policy"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// policyRule is the name under which policies stand among the guardrails.
const policyRule = "policy"

// decide holds an acting signal against the policies and notes the decision in its guardrails. It returns the signal that tells of the
// decision, or false where no rule applied.
func (l *Loop) decide(e *signal.Envelope, facts *guardrail.Facts) (signal.Envelope, bool) {
	if l.settings.Policies.Empty() {
		return signal.Envelope{}, false
	}
	d, err := l.settings.Policies.Decide(*e, policy.Inputs{Now: facts.Now, Budget: facts.Budget, Coverage: facts.Coverage, Criticality: facts.Criticality})
	if err != nil {
		// The envelope has no JSON form; it will not be said either.
		d = policy.Decision{Value: signal.ResultDeny, Failed: true}
	}
	g := &e.Guardrails
	g.Evaluated = append(g.Evaluated, policyRule)
	g.Inputs[policyRule+".decision"] = string(d.Value)
	g.Inputs[policyRule+".inputs"] = d.Digest
	if d.Rule != "" {
		g.Inputs[policyRule+".rule"] = d.Rule
	}
	reason := ""
	if d.Failed {
		reason = "evaluation_failed"
		g.Inputs[policyRule+".failed"] = "true"
	}
	if d.Value == signal.ResultDeny || d.Value == signal.ResultRequireApproval && !facts.Approved {
		g.BlockedBy = append(g.BlockedBy, policyRule)
	}
	if d.Rule == "" {
		return signal.Envelope{}, false
	}
	told := signal.Envelope{
		ID:   signal.NewID(signal.KindPolicyDecision, e.Target, map[string]string{"signal": e.ID, "rule": d.Rule, "decision": string(d.Value)}, e.ValidFrom),
		Kind: signal.KindPolicyDecision, Version: signal.Version, State: signal.StateFiring, Severity: signal.SeverityInfo, Target: e.Target,
		Action:     signal.Action{Verb: "none", Params: map[string]string{"signal": e.ID, "kind": e.Kind, "rule": d.Rule}, Reversible: true, Risk: signal.RiskNone},
		Result:     &signal.Result{Value: d.Value, Reason: reason},
		Confidence: signal.Confidence{Value: 1, Method: "policy"},
		Evidence:   signal.Evidence{Inputs: []string{e.Kind, "sha256:" + d.Digest}},
		Guardrails: signal.Guardrails{Evaluated: []string{policyRule}},
		ValidFrom:  e.ValidFrom, UpdatedAt: laterOf(facts.Now, e.ValidFrom), ExpiresAt: e.ExpiresAt,
	}
	verb := map[signal.ResultValue]string{signal.ResultAllow: "allows", signal.ResultRequireApproval: "wants an approval for", signal.ResultDeny: "denies"}[d.Value]
	told.Summary = signal.CleanText(fmt.Sprintf("Policy %s %s %s of %s.", d.Rule, verb, e.Action.Verb, cmp.Or(e.Target.Service, "all services")), signal.MaxSummary)
	return told, true
}

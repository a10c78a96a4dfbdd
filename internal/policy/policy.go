// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// Rule is one policy.
type Rule struct {
	// Name names the rule in decisions: lower case letters, digits and underscores.
	Name string
	// When is an expression that gives a bool.
	When string
	// Decision is what holds when it is true: allow, require_approval or deny.
	Decision signal.ResultValue
}

// Inputs are what an expression sees beside the signal.
type Inputs struct {
	Now time.Time
	// Budget and Coverage are nil when they are not known; expressions then see null.
	Budget, Coverage *float64
	Criticality      string
}

// Decision is what the policies say of one signal.
type Decision struct {
	Value signal.ResultValue
	// Rule is the name of the rule that decided; empty when none applied and the default holds.
	Rule string
	// Failed says that the rule's expression could not be evaluated, which denies.
	Failed bool
	// Digest is the SHA-256, in hex and cut to 128 bits, of what the expressions saw.
	Digest string
}

const (
	// MaxCost bounds one evaluation of one expression, in the units of CEL's cost model: about one for each operation and each tenth byte.
	MaxCost = 100_000
	// MaxRules bounds the rules that are compiled.
	MaxRules = 100
	// MaxExpression is in bytes.
	MaxExpression = 4096
)

var (
	errRule = errors.New("invalid policy")
	// Most collectors have no policy, and none should pay for what compiles one.
	namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`) })
	decisions   = []signal.ResultValue{signal.ResultAllow, signal.ResultRequireApproval, signal.ResultDeny}
)

// Engine holds compiled rules. It is safe for concurrent use.
type Engine struct {
	rules    []compiled
	fallback signal.ResultValue
}

type compiled struct {
	Rule
	program program
}

// program is a compiled When. It is safe for concurrent use.
type program interface {
	// holds evaluates the expression over variables; an error where it cannot, or where it gives no bool.
	holds(variables map[string]any) (bool, error)
}

// Compile checks and compiles rules. fallback is the decision when no rule applies.
func Compile(rules []Rule, fallback signal.ResultValue) (*Engine, error) {
	if !slices.Contains(decisions, fallback) {
		return nil, fmt.Errorf("%w: the default must be allow, require_approval or deny (got %q)", errRule, fallback)
	}
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%w: at most %d rules (got %d)", errRule, MaxRules, len(rules))
	}
	e := &Engine{fallback: fallback}
	if len(rules) == 0 {
		return e, nil
	}
	compile, err := newCompiler()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, r := range rules {
		switch {
		case !namePattern().MatchString(r.Name):
			return nil, fmt.Errorf("%w: rule %d: name must be lower case letters, digits and underscores (got %q)", errRule, i, r.Name)
		case seen[r.Name]:
			return nil, fmt.Errorf("%w: name %q is used twice", errRule, r.Name)
		case !slices.Contains(decisions, r.Decision):
			return nil, fmt.Errorf("%w: %s: decision must be allow, require_approval or deny (got %q)", errRule, r.Name, r.Decision)
		case r.When == "" || len(r.When) > MaxExpression:
			return nil, fmt.Errorf("%w: %s: when must have 1 to %d bytes (got %d)", errRule, r.Name, MaxExpression, len(r.When))
		}
		seen[r.Name] = true
		program, err := compile(r.When)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: when: %w", errRule, r.Name, err)
		}
		e.rules = append(e.rules, compiled{Rule: r, program: program})
	}
	return e, nil
}

// Empty reports whether there is no rule at all.
func (e *Engine) Empty() bool { return e == nil || len(e.rules) == 0 }

// Decide returns what the first rule that applies says, and the default if none does. A rule that cannot be evaluated, because it names
// what the signal does not have or costs too much, denies: what nobody could check must not be done.
func (e *Engine) Decide(envelope signal.Envelope, in Inputs) (Decision, error) {
	envelope.Audit = nil
	data, err := envelope.MarshalCanonical()
	if err != nil {
		return Decision{}, err
	}
	var asMap map[string]any
	if err := json.Unmarshal(data, &asMap); err != nil {
		return Decision{}, fmt.Errorf("read signal: %w", err)
	}
	context := map[string]any{"budget": orNull(in.Budget), "coverage": orNull(in.Coverage), "criticality": in.Criticality}
	seen, err := json.Marshal(context)
	if err != nil {
		return Decision{}, fmt.Errorf("encode context: %w", err)
	}
	h := sha256.New()
	h.Write(data)
	h.Write(seen)
	h.Write([]byte(in.Now.UTC().Format(time.RFC3339Nano)))
	decision := Decision{Value: e.fallback, Digest: hex.EncodeToString(h.Sum(nil)[:16])}
	variables := map[string]any{"signal": asMap, "context": context, "now": in.Now.UTC()}
	for i := range e.rules {
		rule := &e.rules[i]
		applies, err := rule.program.holds(variables)
		if err != nil {
			decision.Value, decision.Rule, decision.Failed = signal.ResultDeny, rule.Name, true
			return decision, nil //nolint:nilerr // that it failed is the decision
		}
		if applies {
			decision.Value, decision.Rule = rule.Decision, rule.Name
			return decision, nil
		}
	}
	return decision, nil
}

func orNull(v *float64) any {
	if v == nil {
		return nil
	}
	return *v
}

// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/policy"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Config is what a user writes under `optimizer:`.
type Config struct {
	// Storage is the component id of a storage extension in which the firing signals are kept over a restart or a reload. Without it
	// they are forgotten, and end by expiry at their receivers.
	Storage *component.ID `mapstructure:"storage"`
	// MaxActiveSignals bounds the signals that fire at once. When it is reached, new ones are dropped and counted; those that fire
	// go on.
	MaxActiveSignals int `mapstructure:"max_active_signals"`
	// SignalTTL is how long a signal stays valid after the last alert record about it, in event time. After that it expires, unless
	// the slo extension says that the alert still fires.
	SignalTTL time.Duration `mapstructure:"signal_ttl"`
	// MaxFuture is how far ahead of the clock an alert record may lie. Those beyond are dropped and counted.
	MaxFuture time.Duration `mapstructure:"max_future"`
	// EvaluationInterval is how often, in event time, detectors are asked what they found. An alert is looked at at once.
	EvaluationInterval time.Duration `mapstructure:"evaluation_interval"`
	// OutboxSize bounds the envelopes that wait while the next consumer refuses them. When it is full, the oldest is dropped and
	// counted.
	OutboxSize int `mapstructure:"outbox_size"`
	// Decider says that this collector decides. Where another one of the fleet does, it is false: then what was observed leaves as
	// statistics for that one, and no signal is said here.
	Decider bool `mapstructure:"decider"`
	// EvidenceAttributes are attributes whose values may appear in signals, beyond the built-in list. Signals leave the house: name
	// nothing that identifies a person.
	EvidenceAttributes []string `mapstructure:"evidence_attributes"`
	// Canary says how two versions that run at the same time are compared.
	Canary CanaryConfig `mapstructure:"canary"`
	// Planner ranks what could be done.
	Planner PlannerConfig `mapstructure:"planner"`
	// Guardrails bound what an automaton may do.
	Guardrails GuardrailsConfig `mapstructure:"guardrails"`
	// Coverage tells when too little can be seen.
	Coverage CoverageConfig `mapstructure:"coverage"`
	// Policies are the user's own rules, the first that applies deciding. They come after the guardrails and cannot override them.
	Policies []PolicyConfig `mapstructure:"policies"`
	// PolicyDefault is the decision where no policy applies.
	PolicyDefault string `mapstructure:"policy_default"`
}

// PolicyConfig is one rule.
type PolicyConfig struct {
	// Name names the rule in decisions.
	Name string `mapstructure:"name"`
	// When is a CEL expression over signal, context and now.
	When string `mapstructure:"when"`
	// Decision is allow, require_approval or deny.
	Decision string `mapstructure:"decision"`
}

func (c *Config) policies() (*policy.Engine, error) {
	rules := make([]policy.Rule, len(c.Policies))
	for i, p := range c.Policies {
		rules[i] = policy.Rule{Name: p.Name, When: p.When, Decision: signal.ResultValue(p.Decision)}
	}
	engine, err := policy.Compile(rules, signal.ResultValue(c.PolicyDefault))
	if err != nil {
		return nil, fmt.Errorf("%w: policies: %w", errConfig, err)
	}
	return engine, nil
}

const maxActiveSignalsLimit = 1_000_000

var errConfig = errors.New("invalid configuration")

// Validate reports the first key whose value cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.MaxActiveSignals <= 0 || c.MaxActiveSignals > maxActiveSignalsLimit:
		return fmt.Errorf("%w: max_active_signals must be between 1 and %d (got %d)", errConfig, maxActiveSignalsLimit, c.MaxActiveSignals)
	case c.SignalTTL < time.Minute:
		return fmt.Errorf("%w: signal_ttl must be at least 1m (got %s)", errConfig, c.SignalTTL)
	case c.MaxFuture < 0:
		return fmt.Errorf("%w: max_future must not be negative (got %s)", errConfig, c.MaxFuture)
	case c.EvaluationInterval < time.Second || c.EvaluationInterval > time.Hour:
		return fmt.Errorf("%w: evaluation_interval must be between 1s and 1h (got %s)", errConfig, c.EvaluationInterval)
	case c.OutboxSize <= 0:
		return fmt.Errorf("%w: outbox_size must be positive (got %d)", errConfig, c.OutboxSize)
	}
	if err := c.Canary.validate(); err != nil {
		return err
	}
	for i, name := range c.EvidenceAttributes {
		if name == "" {
			return fmt.Errorf("%w: evidence_attributes[%d] must not be empty", errConfig, i)
		}
	}
	if err := c.Planner.validate(); err != nil {
		return err
	}
	if err := c.Coverage.validate(); err != nil {
		return err
	}
	if _, err := c.Guardrails.settings(); err != nil {
		return err
	}
	_, err := c.policies()
	return err
}

func createDefaultConfig() component.Config {
	return &Config{
		MaxActiveSignals:   10_000,
		SignalTTL:          24 * time.Hour,
		MaxFuture:          time.Minute,
		EvaluationInterval: 10 * time.Second,
		OutboxSize:         1_000,
		Decider:            true,
		Canary:             defaultCanaryConfig(),
		Planner:            defaultPlanner(),
		Guardrails:         defaultGuardrails(),
		Coverage:           defaultCoverage(),
		PolicyDefault:      string(signal.ResultAllow),
	}
}

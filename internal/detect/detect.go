// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// Detector finds what should be changed. The frame around it lets event time pass, keeps its state over a restart, and decides what
// becomes of its candidates; the detector decides only what is the case.
//
// Telemetry reaches a detector from many goroutines while Advance, Snapshot and Restore are called from one at a time, so it guards its
// own state. What it says must depend on the telemetry and the event times alone: two runs over the same data say the same bytes.
type Detector interface {
	// Name is a short word, unique among detectors: the name of its folder.
	Name() string
	// Advance lets event time pass to now and returns what there is to say, in an order that depends on the data alone. now never goes
	// back. What was said once need not be said again until it changes or half of its validity has passed.
	Advance(now time.Time) []Candidate
	// Snapshot returns the state in a form that Restore reads; equal states give equal bytes. Seal gives it a version and a checksum.
	Snapshot() ([]byte, error)
	// Restore replaces the state. On an error the state is unchanged.
	Restore(data []byte) error
	// Fill says how full the state is.
	Fill() Fill
}

// Fill is how much a detector holds and how much it may hold, in the targets or episodes that it counts.
type Fill struct{ Used, Limit int }

// ChangeObserver is a detector that looks at changes: deployments, rollbacks, flag flips, configuration.
type ChangeObserver interface {
	// ObserveChange takes one change, in the order in which they are told. Repetitions are left out.
	ObserveChange(c Change)
}

// ChangeSource is a detector that sees changes in the telemetry itself, such as a service.version it did not know.
type ChangeSource interface {
	// TakeChanges returns the changes seen since the last call, oldest first. They become log records and reach every ChangeObserver.
	TakeChanges() []Change
}

// Merger is a detector whose state is made of sufficient statistics that merge by addition: where a fleet of collectors shares the
// telemetry, each sends what it has seen to the one that decides.
type Merger interface {
	// Export takes the place of Advance where another collector decides: it lets event time pass to now and returns what was observed
	// since the last Export in parts of at most about MaxPart bytes; none when there was nothing. Parts that are merged elsewhere, in any
	// order, give there the state that all the telemetry would have given.
	Export(now time.Time) ([][]byte, error)
	// Merge adds one part of another collector's Export. On an error the state is unchanged.
	Merge(part []byte) error
}

// MaxPart is about how large a part of an Export is at most.
const MaxPart = 256 << 10

// Candidate is what a detector would like to have said.
type Candidate struct {
	// Envelope is the whole signal but for Update, Guardrails and Audit, which the frame fills in. Its State is firing while the
	// condition lasts, and resolved or expired once, at the end.
	Envelope signal.Envelope
	// Benefit is what following the recommendation would bring.
	Benefit Benefit
	// Effort is what following it takes.
	Effort Effort
	// Cause names what brought this about, where that is known: the id of a change, or service and revision. Candidates with the same
	// cause describe one thing.
	Cause string
	// Step is the recommended relative change of a setting, such as 0.15 for 15 % more; 0 where the action is not a matter of degree.
	// Its sign is the direction.
	Step float64
	// Noise and Margin judge hysteresis: the robust standard deviation of what was measured, and the distance between the thresholds at
	// which the condition begins and ends, in the same unit. Both 0 where the condition is not a threshold on a noisy measure.
	Noise, Margin float64
	// Exposure is how many observations the evidence rests on; 0 where they are not counted.
	Exposure float64
	// Reliability says that the action serves reliability and not cost or speed alone.
	Reliability bool
}

// Benefit is what an action is expected to bring. Zero parts are unknown or none.
type Benefit struct {
	// Money is saved in a month, in the currency of the prices.
	Money float64
	// Budget is the share of an error budget that is not spent, in [0, 1].
	Budget float64
	// LatencySeconds is taken off each request.
	LatencySeconds float64
}

// Effort is what following a recommendation takes.
type Effort int

// The efforts, least first.
const (
	EffortNone Effort = iota
	EffortLow
	EffortMedium
	EffortHigh
)

// ChangeKind says what was changed.
type ChangeKind string

// The kinds of change; they are the event names of their log records.
const (
	Deployment    ChangeKind = "change.deployment"
	FeatureFlag   ChangeKind = "change.feature_flag"
	Configuration ChangeKind = "change.configuration"
)

// Change is one change to what runs. Empty texts are unknown.
type Change struct {
	// ID is unique among changes; it is what a signal's caused_by names.
	ID   string     `json:"id"`
	Kind ChangeKind `json:"kind"`
	// Time is the event time at which it happened.
	Time time.Time `json:"time"`
	// Action is what was done: deploy, upgrade, rollback, remove, release, modify, create, delete, flip, approve.
	Action string `json:"action,omitempty"`
	// State is how far it has come: planned, started, succeeded or failed.
	State       string `json:"state,omitempty"`
	Service     string `json:"service,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Environment string `json:"environment,omitempty"`
	// Version is the service.version that runs after the change.
	Version string `json:"version,omitempty"`
	Flag    string `json:"flag,omitempty"`
	Variant string `json:"variant,omitempty"`
	// Tool is who told it; telemetry for a change that was seen in the telemetry itself.
	Tool string `json:"tool,omitempty"`
	// SignalID names the signal that this change carries out.
	SignalID string `json:"signal_id,omitempty"`
}

// ToolTelemetry is the Tool of changes that nobody told: they were seen in the telemetry.
const ToolTelemetry = "telemetry"

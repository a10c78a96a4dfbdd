package slo

import "time"

// State is what an objective, or one of its groups, is in. It is never derived from a NaN: too little data is a state of its own.
type State string

// The states of an objective. InsufficientData covers both "nothing seen yet" and "too little of the window was observed".
const (
	StateOK               State = "ok"
	StateBurning          State = "burning"
	StateExhausted        State = "exhausted"
	StateInsufficientData State = "insufficient_data"
	StateFrozen           State = "frozen"
)

// Status is a snapshot of one objective, or of one group of it, as of the event time AsOf. It is a copy: reading it holds no lock.
type Status struct {
	// Name is the objective's name, unique in the book.
	Name string `json:"name"`
	// Service is the value of service.name the objective, or this group of it, is about; empty when it spans services.
	Service string `json:"service,omitempty"`
	// Group holds the group_by attributes and their values; empty for an objective without groups.
	Group map[string]string `json:"group,omitempty"`
	// Owner and Runbook are the objective's annotations, carried into every alert and signal.
	Owner   string `json:"owner,omitempty"`
	Runbook string `json:"runbook,omitempty"`
	// Target is the objective's target ratio in [0, 1).
	Target float64 `json:"target"`
	// Window is the objective's own window as the user wrote it ("30d").
	Window string `json:"window"`
	// AlertProfile names the set of alerting windows in force: "workbook", "demo" or "custom".
	AlertProfile string `json:"alert_profile"`
	State        State  `json:"state"`
	// Method says what the budget is counted in.
	Method Method `json:"method,omitempty"`
	// Period is the current calendar period; absent for a rolling window.
	Period *Period `json:"period,omitempty"`
	// Reason says why nothing can be computed, where that is so.
	Reason string `json:"reason,omitempty"`
	// Good and Bad are weighted event counts, or numbers of time slices by Method, in the objective's window or period.
	Good float64 `json:"good"`
	Bad  float64 `json:"bad"`
	// Compliance is good ÷ (good + bad) in [0, 1]; absent while State is insufficient_data.
	Compliance *float64 `json:"compliance,omitempty"`
	// BudgetRemaining is the share of the error budget left, in (−∞, 1]; absent while State is insufficient_data.
	BudgetRemaining *float64 `json:"error_budget_remaining,omitempty"`
	// BudgetInterval is a 95 % interval of BudgetRemaining, where spans were sampled before they were counted; absent where the figure is exact.
	BudgetInterval *[2]float64 `json:"error_budget_interval,omitempty"`
	// ThresholdError is how far Compliance may be off because a threshold cuts a bucket of a histogram; absent without histograms, 0 where the
	// threshold is an edge.
	ThresholdError *float64 `json:"threshold_error,omitempty"`
	// Latency holds quantiles of how long events took, of objectives on the latency of spans.
	Latency *Latency `json:"latency,omitempty"`
	// Coverage is the share of the window that was observed, in [0, 1].
	Coverage float64 `json:"coverage"`
	// BurnRates holds one entry per alerting window, longest last.
	BurnRates []BurnRate `json:"burn_rates"`
	// Alerts are those firing now.
	Alerts []FiringAlert `json:"alerts,omitempty"`
	// Rules are the alert rules of the objective, firing or not.
	Rules []Rule `json:"-"`
	// Maintenance names the maintenance the objective is frozen for.
	Maintenance string `json:"maintenance,omitempty"`
	// AsOf is the event time (the book's watermark) the snapshot was taken at.
	AsOf time.Time `json:"as_of"`
}

// Period is a period of a calendar: from Start to before End.
type Period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// BurnRate is the burn of one window: bad ratio ÷ (1 − target). Rate is absent when the window holds no event.
type BurnRate struct {
	Window string   `json:"window"`
	Rate   *float64 `json:"rate,omitempty"`
}

// FiringAlert is an alert that has fired and is not resolved yet.
type FiringAlert struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity"`
	Since    time.Time `json:"since"`
}

// StatusReader is what others need of the slo extension to show live state. A host's extensions are searched for it.
type StatusReader interface {
	// Statuses returns one entry per objective and group, in a stable order. It may be called from any goroutine.
	Statuses() []Status
}

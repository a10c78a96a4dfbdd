// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// alertsPath is the endpoint of Alertmanager's API v2 that takes alerts.
const alertsPath = "/api/v2/alerts"

// resendBatch is how many alerts one repetition sends in a request.
const resendBatch = 100

// alertmanager posts signals as alerts, and those that fire again and again: Alertmanager resolves what it does not hear of.
type alertmanager struct {
	cfg      *AlertmanagerConfig
	settings component.TelemetrySettings
	clock    func() time.Time
	url      string
	client   *http.Client
	stop     context.CancelFunc
	done     chan struct{}

	mu     sync.Mutex
	active map[string]signal.Envelope
}

func newAlertmanager(cfg *AlertmanagerConfig, set exporter.Settings, clock func() time.Time) *alertmanager {
	return &alertmanager{
		cfg: cfg, settings: set.TelemetrySettings, clock: clock,
		url: strings.TrimSuffix(cfg.ClientConfig.Endpoint, "/") + alertsPath, active: map[string]signal.Envelope{},
	}
}

func (*alertmanager) name() string { return "alertmanager" }

func (a *alertmanager) activeAlerts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.active)
}

func (a *alertmanager) start(ctx context.Context, host component.Host) error {
	client, err := a.cfg.ClientConfig.ToClient(ctx, host.GetExtensions(), a.settings)
	if err != nil {
		return err
	}
	a.client = withoutRedirects(client)
	run, stop := context.WithCancel(context.Background())
	a.stop, a.done = stop, make(chan struct{})
	go a.run(run)
	return nil
}

func (a *alertmanager) shutdown(context.Context) error {
	if a.stop != nil {
		a.stop()
		<-a.done
		a.stop = nil
		a.client.CloseIdleConnections()
	}
	return nil
}

func (a *alertmanager) run(ctx context.Context) {
	defer close(a.done)
	ticker := time.NewTicker(a.cfg.ResendInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.resend(ctx)
		}
	}
}

// alert is an alert as Alertmanager's API v2 takes it.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     string            `json:"startsAt"`
	EndsAt       string            `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// newAlert maps a signal. Labels are an alert's identity, so they hold only what stays the same while it fires; the id, numbers and
// text are annotations. Label names have underscores: Alertmanager before 0.27 refuses dots. The end is the clock's, since that is
// what Alertmanager compares it with.
func (a *alertmanager) newAlert(e signal.Envelope, now time.Time) alert {
	labels := map[string]string{"alertname": strings.ReplaceAll(e.Kind, ".", "_"), "kind": e.Kind}
	put := func(m map[string]string, name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	for name, value := range e.Target.Attributes {
		put(labels, labelName(name), value)
	}
	put(labels, "service_name", e.Target.Service)
	put(labels, "service_namespace", e.Target.Namespace)
	put(labels, "deployment_environment_name", e.Target.Environment)
	put(labels, "objective", e.Target.Objective)
	put(labels, "owner", e.Owner)
	annotations := map[string]string{
		"summary": e.Summary, "signal_id": e.ID, "state": string(e.State), "action": e.Action.Verb,
		"confidence": strconv.FormatFloat(e.Confidence.Value, 'g', -1, 64), "valid_from": e.ValidFrom.UTC().Format(time.RFC3339Nano),
	}
	put(annotations, "runbook_url", e.Runbook)
	put(annotations, "profile", e.Evidence.Profile)
	if b := e.Budget; b != nil && b.Remaining != nil {
		annotations["error_budget_remaining"] = strconv.FormatFloat(*b.Remaining, 'g', -1, 64)
	}
	if b := e.Budget; b != nil && b.Burn != nil {
		annotations["burn_rate"] = strconv.FormatFloat(*b.Burn, 'g', -1, 64)
	}
	var traces []string
	for _, x := range e.Evidence.Exemplars {
		traces = append(traces, x.TraceID)
	}
	put(annotations, "trace_ids", strings.Join(traces, " "))
	labels["severity"] = string(e.Severity)
	starts, ends := e.ValidFrom, now
	if starts.After(now) {
		starts = now
	}
	if !e.State.Ended() {
		ends = now.Add(a.cfg.ResolveTimeout)
	}
	return alert{Labels: labels, Annotations: annotations, StartsAt: starts.UTC().Format(time.RFC3339Nano), EndsAt: ends.UTC().Format(time.RFC3339Nano), GeneratorURL: a.cfg.GeneratorURL}
}

// labelName turns an attribute's name into a label's name.
func labelName(attribute string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, attribute)
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// send posts the alert. When its severity changed, the alert with the old one, which is another alert to Alertmanager, ends with the
// same request.
func (a *alertmanager) send(ctx context.Context, e signal.Envelope) error {
	now := a.clock()
	a.mu.Lock()
	old, known := a.active[e.ID]
	a.mu.Unlock()
	if known && e.Update < old.Update {
		return nil // overtaken by a newer envelope of the same signal
	}
	alerts := []alert{a.newAlert(e, now)}
	if known && old.Severity != e.Severity {
		old.State = signal.StateSuperseded
		alerts = append(alerts, a.newAlert(old, now))
	}
	if err := a.post(ctx, alerts); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case e.State.Ended():
		delete(a.active, e.ID)
	case known || len(a.active) < a.cfg.MaxActive:
		a.active[e.ID] = e
	default:
		a.settings.Logger.Warn("too many active alerts: this one is not repeated", zap.String("signal", e.ID), zap.Int("max_active", a.cfg.MaxActive))
	}
	return nil
}

// resend repeats the alerts that fire. A failure is counted; the next repetition comes soon enough.
func (a *alertmanager) resend(ctx context.Context) {
	a.mu.Lock()
	var due []signal.Envelope
	for _, id := range slices.Sorted(maps.Keys(a.active)) {
		due = append(due, a.active[id])
	}
	a.mu.Unlock()
	now := a.clock()
	for batch := range slices.Chunk(due, resendBatch) {
		alerts := make([]alert, 0, len(batch))
		for _, e := range batch {
			alerts = append(alerts, a.newAlert(e, now))
		}
		if err := a.post(ctx, alerts); err != nil {
			a.settings.Logger.Warn("alerts could not be repeated", zap.Int("alerts", len(batch)), zap.Error(err))
		}
	}
}

func (a *alertmanager) post(ctx context.Context, alerts []alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return &sinkError{outcome: outcomeEncodeFailed, err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return &sinkError{outcome: outcomeEncodeFailed, err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	return post(a.client, req, a.clock)
}

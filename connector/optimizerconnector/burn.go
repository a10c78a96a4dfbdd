// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/burn"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// windowRefresh is how often the objectives' windows are read from the slo extension.
const windowRefresh = 30 * time.Second

// burnAdapter reads slo.alert records for the burn detector.
type burnAdapter struct {
	surroundings

	mu       sync.Mutex
	detector *burn.Detector
	// said waits for the next Advance.
	said []detect.Candidate
	// windows are the objectives' own windows by objective name, as the slo extension last gave them.
	windows     map[string]time.Duration
	windowsRead time.Time
}

func newBurnAdapter(s surroundings) detect.Detector {
	return &burnAdapter{
		surroundings: s,
		detector:     burn.New(burn.Settings{MaxActive: s.cfg.MaxActiveSignals, TTL: s.cfg.SignalTTL, Allow: s.allow}),
		windows:      map[string]time.Duration{},
	}
}

func (*burnAdapter) Name() string { return "burn" }

func (b *burnAdapter) Fill() detect.Fill {
	b.mu.Lock()
	defer b.mu.Unlock()
	return detect.Fill{Used: b.detector.Active(), Limit: b.cfg.MaxActiveSignals}
}

// readLogs looks for alert transitions; one that changes what is said is urgent, since somebody may have to be woken.
func (b *burnAdapter) readLogs(ld plog.Logs) bool {
	urgent := false
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if rec.EventName() == alertEvent && b.observe(rl.Resource().Attributes(), rec) {
					urgent = true
				}
			}
		}
	}
	return urgent
}

// observe takes one alert record and reports whether there is something to say.
func (b *burnAdapter) observe(resource pcommon.Map, rec plog.LogRecord) bool {
	a, refused := readAlert(resource, rec, func(reason string) {
		b.telemetry.OptimizerAlertFieldsIgnored.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", reason)))
	})
	if refused == "" && a.Time.After(b.clock().Add(b.cfg.MaxFuture)) {
		refused = future
	}
	if refused != "" {
		b.count(refused)
		b.log.Debug("alert record refused", zap.String("reason", refused))
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.ObjectiveWindow == 0 {
		a.ObjectiveWindow = b.windows[a.Objective]
	}
	envelope, emit, outcome := b.detector.Observe(a)
	b.count(string(outcome))
	if emit {
		b.said = append(b.said, burnCandidate(envelope))
	}
	return emit
}

func burnCandidate(e signal.Envelope) detect.Candidate {
	c := detect.Candidate{Envelope: e, Reliability: true, Effort: detect.EffortLow}
	if e.Expected != nil && e.Expected.Delta != nil {
		c.Benefit.Budget = min(max(-*e.Expected.Delta, 0), 1)
	}
	for _, name := range []string{"events.good", "events.bad"} {
		c.Exposure += e.Evidence.Statistics[name]
	}
	return c
}

func (b *burnAdapter) count(outcome string) {
	b.telemetry.OptimizerAlerts.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// Advance returns what was observed since, and ends the signals that nothing confirmed in time. The slo extension is asked without a
// lock held.
func (b *burnAdapter) Advance(now time.Time) []detect.Candidate {
	b.mu.Lock()
	said, due := b.said, b.detector.Due(now)
	b.said = nil
	b.mu.Unlock()
	if !due {
		return said
	}
	statuses := b.statuses()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, envelope := range b.detector.Advance(now, func(a burn.Alert) bool { return stillFires(statuses, a) }) {
		said = append(said, burnCandidate(envelope))
	}
	return said
}

// stillFires reports whether the objective's live state has the alert rule firing.
func stillFires(statuses []slo.Status, a burn.Alert) bool {
	return slices.ContainsFunc(statuses, func(s slo.Status) bool {
		return s.Name == a.Objective && (s.Service == "" || s.Service == a.Service) && maps.Equal(s.Group, a.Group) &&
			slices.ContainsFunc(s.Alerts, func(f slo.FiringAlert) bool { return f.Name == a.Rule })
	})
}

// tick reads the objectives' windows, for alert records that do not carry them.
func (b *burnAdapter) tick(clock time.Time) {
	b.mu.Lock()
	fresh := clock.Before(b.windowsRead.Add(windowRefresh))
	b.mu.Unlock()
	if fresh {
		return
	}
	windows := map[string]time.Duration{}
	for _, s := range b.statuses() {
		windows[s.Name] = burn.ParseWindow(s.Window)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.windows, b.windowsRead = windows, clock
}

func (b *burnAdapter) Snapshot() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Snapshot()
}

func (b *burnAdapter) Restore(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detector.Restore(data)
}

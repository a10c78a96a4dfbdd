// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/delivery"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// deliveryAdapter keeps the score of deployments as the component's own metrics. It reads changes and the alerts that page.
type deliveryAdapter struct {
	surroundings

	mu       sync.Mutex
	detector *delivery.Detector
}

func newDeliveryAdapter(s surroundings) detect.Detector {
	return &deliveryAdapter{surroundings: s, detector: delivery.New(delivery.Default(s.cfg.MaxActiveSignals))}
}

func (*deliveryAdapter) Name() string { return "delivery" }

func (a *deliveryAdapter) ObserveChange(c detect.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.detector.ObserveChange(c)
}

// readLogs takes alerts. What is wrong with a record is counted by the burn detector's adapter, which reads the same.
func (a *deliveryAdapter) readLogs(ld plog.Logs) bool {
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, rec := range sl.LogRecords().All() {
				if rec.EventName() != alertEvent {
					continue
				}
				alert, refused := readAlert(rl.Resource().Attributes(), rec, func(string) {})
				if refused != "" || alert.Severity != signal.SeverityPage || alert.Time.After(a.clock().Add(a.cfg.MaxFuture)) {
					continue
				}
				page := delivery.Page{
					Service: alert.Service, Firing: alert.Firing, Time: alert.Time,
					Episode: fmt.Sprint(alert.Objective, alert.Rule, alert.Group), // maps are printed in the order of their keys
				}
				a.mu.Lock()
				a.detector.ObservePage(page)
				a.mu.Unlock()
			}
		}
	}
	return false
}

// Advance writes down what became known.
func (a *deliveryAdapter) Advance(now time.Time) []detect.Candidate {
	a.mu.Lock()
	said := a.detector.Advance(now)
	events, rates := a.detector.TakeEvents(), a.detector.Rates()
	a.mu.Unlock()

	ctx := context.Background()
	for outcome, n := range map[string]int64{
		"succeeded": events.Succeeded, "failed": events.Failed, "reverted": events.Reverted, "left_out": events.LeftOut,
	} {
		if n > 0 {
			a.telemetry.OptimizerDeployments.Add(ctx, n, metric.WithAttributes(attribute.String("deployment_outcome", outcome)))
		}
	}
	for _, s := range events.SecondsToDetect {
		a.telemetry.OptimizerTimeToDetect.Record(ctx, s)
	}
	for _, s := range events.SecondsToMitigate {
		a.telemetry.OptimizerTimeToMitigate.Record(ctx, s)
	}
	if rates.Judged > 0 {
		a.telemetry.OptimizerDeploymentFailureRate.Record(ctx, rates.Failed)
		a.telemetry.OptimizerDeploymentRevertRate.Record(ctx, rates.Reverted)
	}
	return said
}

func (a *deliveryAdapter) Fill() detect.Fill {
	a.mu.Lock()
	defer a.mu.Unlock()
	return detect.Fill{Used: a.detector.Services(), Limit: a.cfg.MaxActiveSignals}
}

func (a *deliveryAdapter) Snapshot() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.detector.Snapshot()
}

func (a *deliveryAdapter) Restore(data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.detector.Restore(data)
}

// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/internal/datapoint"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/detect/outcome"
	"github.com/pitwall-io/pitwall/internal/guardrail"
	"github.com/pitwall-io/pitwall/internal/otelattr"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// What the frame asks of the detector that knows what became of signals.
type (
	signalObserver interface {
		ObserveSignal(e *signal.Envelope)
	}
	outcomeSource interface {
		detect.Detector
		Breaker() guardrail.Breaker
		Calibrate(kind string, confidence float64) (float64, int)
		Tallies() map[string]outcome.Tally
		Benefit() outcome.Benefit
	}
)

// eventsMetric is what the slo connector counts: events of objectives by verdict, in slices of event time.
const eventsMetric = "slo.events"

// outcomeAdapter reads slo.events for the outcome detector.
type outcomeAdapter struct {
	*outcome.Detector
	surroundings
}

func newOutcomeAdapter(s surroundings) detect.Detector {
	return outcomeAdapter{outcome.New(outcome.Default(s.cfg.MaxActiveSignals)), s}
}

// Merge adds events as if they had been read here.
func (o outcomeAdapter) Merge(part []byte) error {
	return o.Detector.Merge(part, o.clock().Add(o.cfg.MaxFuture))
}

func (o outcomeAdapter) readMetrics(md pmetric.Metrics) {
	for _, rm := range md.ResourceMetrics().All() {
		service := ""
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Name() != eventsMetric || m.Type() != pmetric.MetricTypeSum || m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityDelta {
					continue
				}
				if service == "" {
					service = boundedText(rm.Resource().Attributes(), otelattr.ServiceName)
				}
				o.readPoints(service, m.Sum().DataPoints())
			}
		}
	}
}

func (o outcomeAdapter) readPoints(service string, points pmetric.NumberDataPointSlice) {
	for i := range points.Len() {
		dp := points.At(i)
		n := datapoint.Value(dp)
		objective := boundedText(dp.Attributes(), otelattr.SLOName)
		at := dp.StartTimestamp()
		if at == 0 {
			at = dp.Timestamp()
		}
		if objective == "" || at == 0 || at > math.MaxInt64 || !(n > 0) || n > 1e15 {
			continue
		}
		switch boundedText(dp.Attributes(), otelattr.SLOVerdict) {
		case "good":
			o.Observe(service, objective, at.AsTime(), n, 0)
		case "bad":
			o.Observe(service, objective, at.AsTime(), 0, n)
		}
	}
}

// observeOutcomes registers what is told of outcomes as metrics.
func (e *engine) observeOutcomes() error {
	source := e.detectors.outcomes
	if source == nil {
		return nil
	}
	kinds := func(_ context.Context, o metric.Int64Observer) error {
		for kind, t := range source.Tallies() {
			for result, n := range map[signal.ResultValue]float64{
				signal.ResultConfirmed: t.Confirmed, signal.ResultRefuted: t.Refuted, signal.ResultNoEffect: t.NoEffect,
			} {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("kind", kind), attribute.String("result", string(result))))
			}
		}
		return nil
	}
	if err := e.telemetry.RegisterOptimizerOutcomesCallback(kinds); err != nil {
		return err
	}
	if err := e.telemetry.RegisterOptimizerDecisionsCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(source.Benefit().Decided)
		return nil
	}); err != nil {
		return err
	}
	if err := e.telemetry.RegisterOptimizerRevertsCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(source.Breaker().Reverted))
		return nil
	}); err != nil {
		return err
	}
	if err := e.telemetry.RegisterOptimizerDecisionDurationCallback(func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(source.Benefit().DecideSeconds)
		return nil
	}); err != nil {
		return err
	}
	if err := e.telemetry.RegisterOptimizerBreakerOpenCallback(func(_ context.Context, o metric.Int64Observer) error {
		guardrails, err := e.cfg.Guardrails.settings()
		if err != nil {
			return err
		}
		open := int64(0)
		if source.Breaker().Open(guardrails) {
			open = 1
		}
		o.Observe(open)
		return nil
	}); err != nil {
		return err
	}
	return e.telemetry.RegisterOptimizerBenefitCallback(func(_ context.Context, o metric.Float64Observer) error {
		d := source.Benefit()
		for benefit, burn := range map[string]float64{"predicted": d.Predicted, "realised": d.Realised, "regret": d.Regret} {
			o.Observe(burn, metric.WithAttributes(attribute.String("benefit", benefit)))
		}
		return nil
	})
}

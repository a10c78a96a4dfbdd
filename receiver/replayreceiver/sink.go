// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
)

// consumeFunc hands a batch to the pipelines of its signal.
type consumeFunc func(context.Context, *batch) error

// sink is where the requests of one signal go.
type sink struct {
	consume consumeFunc
	obs     *receiverhelper.ObsReport
	host    component.Host // nil until started
	files   []*plannedFile
}

// begin opens the Collector's own account of one request.
func (s *sink) begin(ctx context.Context, of signal) context.Context {
	switch of {
	case signalTraces:
		return s.obs.StartTracesOp(ctx)
	case signalMetrics:
		return s.obs.StartMetricsOp(ctx)
	default:
		return s.obs.StartLogsOp(ctx)
	}
}

// end closes the account of one request.
func (s *sink) end(ctx context.Context, of signal, items int, err error) {
	const format = "otlp"
	switch of {
	case signalTraces:
		s.obs.EndTracesOp(ctx, format, items, err)
	case signalMetrics:
		s.obs.EndMetricsOp(ctx, format, items, err)
	default:
		s.obs.EndLogsOp(ctx, format, items, err)
	}
}

// keepFailed reduces b to what the pipeline says it did not take; false when the pipeline does not say.
func (b *batch) keepFailed(err error) bool {
	var (
		traces  consumererror.Traces
		metrics consumererror.Metrics
		logs    consumererror.Logs
	)
	switch {
	case b.signal == signalTraces && errors.As(err, &traces):
		b.traces = traces.Data()
	case b.signal == signalMetrics && errors.As(err, &metrics):
		b.metrics = metrics.Data()
	case b.signal == signalLogs && errors.As(err, &logs):
		b.logs = logs.Data()
	default:
		return false
	}
	b.items = b.count()
	return true
}

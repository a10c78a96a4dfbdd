// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// makers is where a detector is added, as one line. Their order is the order in which candidates of the same moment are taken.
var makers = []func(surroundings) detect.Detector{
	newBurnAdapter,
}

// surroundings are what the engine offers to a detector's adapter.
type surroundings struct {
	cfg       *Config
	log       *zap.Logger
	telemetry *metadata.TelemetryBuilder
	allow     signal.AllowList
	// clock is what time it is; detectors themselves know event time only.
	clock func() time.Time
	// statuses is the live state of all objectives; it must not be called with a lock held.
	statuses func() []slo.Status
}

// What an adapter reads of telemetry. It is called from many goroutines, must not change or keep what it is given, and guards its own
// state. Steady state, it allocates nothing for each item.
type (
	spanReader interface {
		readTraces(td ptrace.Traces)
	}
	pointReader interface {
		readMetrics(md pmetric.Metrics)
	}
	// recordReader reports whether what it read should be looked at now and not at the end of the evaluation interval.
	recordReader interface {
		readLogs(ld plog.Logs) (urgent bool)
	}
	// ticker is an adapter that refreshes something by the clock, about once a second.
	ticker interface {
		tick(clock time.Time)
	}
)

// detectors are all detectors of an engine, sorted by what they read so that the paths of telemetry ask no questions.
type detectors struct {
	all     []detect.Detector
	spans   []spanReader
	points  []pointReader
	records []recordReader
	tickers []ticker
}

func newDetectors(s surroundings) detectors {
	var d detectors
	for _, make := range makers {
		one := make(s)
		d.all = append(d.all, one)
		if r, ok := one.(spanReader); ok {
			d.spans = append(d.spans, r)
		}
		if r, ok := one.(pointReader); ok {
			d.points = append(d.points, r)
		}
		if r, ok := one.(recordReader); ok {
			d.records = append(d.records, r)
		}
		if t, ok := one.(ticker); ok {
			d.tickers = append(d.tickers, t)
		}
	}
	return d
}

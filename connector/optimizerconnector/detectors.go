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
	"github.com/pitwall-io/pitwall/internal/detect/conflict"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// makers is where a detector is added, as one line; one that is switched off returns nil. Their order is the order in which candidates of the same moment are taken.
var makers = []func(surroundings) detect.Detector{
	newBlindAdapter,
	newBurnAdapter,
	newCoverageAdapter,
	newCardinalityAdapter,
	newDeliveryAdapter,
	newCanaryAdapter,
	newRegressionAdapter,
	newFlagImpactAdapter,
	newOutcomeAdapter,
	func(s surroundings) detect.Detector {
		return conflict.New(conflict.Settings{MaxFields: s.cfg.MaxActiveSignals, Cooldown: conflictCooldown})
	},
}

// conflictCooldown is how long after one actor's change another's different one is a conflict.
const conflictCooldown = 10 * time.Minute

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
	// coverage is the one that knows how much of the expected input arrives; nil without.
	coverage coverageSource
	// outcomes is the one that knows what became of signals; nil without.
	outcomes outcomeSource
	signals  []signalObserver
	// mergers are those whose statistics a fleet shares, by name.
	mergers map[string]detect.Merger
}

func newDetectors(s surroundings) detectors {
	d := detectors{mergers: map[string]detect.Merger{}}
	for _, make := range makers {
		one := make(s)
		if one == nil {
			continue // switched off
		}
		merger, merges := one.(detect.Merger)
		if !merges && !s.cfg.Decider {
			continue // it looks at what reaches the decider anyway
		}
		if merges {
			d.mergers[one.Name()] = merger
		}
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
		if c, ok := one.(coverageSource); ok {
			d.coverage = c
		}
		if o, ok := one.(outcomeSource); ok {
			d.outcomes = o
		}
		if o, ok := one.(signalObserver); ok {
			d.signals = append(d.signals, o)
		}
		if t, ok := one.(ticker); ok {
			d.tickers = append(d.tickers, t)
		}
	}
	return d
}

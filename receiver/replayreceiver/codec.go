// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"errors"
	"fmt"
	"regexp"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
)

// signal is a kind of telemetry. Its order breaks ties between requests of the same event time.
type signal uint8

const (
	signalTraces signal = iota
	signalMetrics
	signalLogs
)

var signals = [...]signal{signalTraces, signalMetrics, signalLogs}

func (s signal) String() string { return [...]string{"traces", "metrics", "logs"}[s] }

// What can be wrong with the content of a record.
var (
	errEmpty       = errors.New("the request holds nothing")
	errWrongSignal = errors.New("the request belongs to another signal")
	errTooDeep     = fmt.Errorf("the request is nested deeper than %d", recording.DeepestNesting)
	errNegative    = errors.New("the request has timestamps before 1970")
	errTwoRequests = errors.New("more than one request, or something else, follows in the same record")
)

// negativeTime is a timestamp that OTLP cannot hold. Go's zero time, written as a number, is the usual one. It cannot match inside a string,
// where the quote would have a backslash before it.
var negativeTime = regexp.MustCompile(`(UnixNano"\s*:\s*)(?:"-[0-9]+"|-[0-9]+)`)

// batch is one decoded request; the field of its signal is set.
type batch struct {
	signal  signal
	traces  ptrace.Traces
	metrics pmetric.Metrics
	logs    plog.Logs
	// items is the number of spans, data points or log records.
	items int
	span  eventSpan
	// repaired is the number of negative timestamps that were read as zero, which is unknown.
	repaired int
}

// decode reads one recorded request as the signal it is said to be.
func decode(s signal, encoding recording.Encoding, data []byte) (batch, error) {
	shape := recording.Look(encoding, data)
	if shape.TooDeep {
		return batch{}, errTooDeep
	}
	b, err := unmarshal(s, encoding, data)
	if err == nil && !b.empty() {
		if shape.MoreFollows { // pdata reads the first value and would drop the rest in silence
			return batch{}, errTwoRequests
		}
		return b, nil
	}
	if err != nil && encoding == recording.EncodingJSON {
		if n := len(negativeTime.FindAllIndex(data, -1)); n > 0 {
			b, err := decode(s, encoding, negativeTime.ReplaceAll(data, []byte(`${1}"0"`)))
			b.repaired = n
			return b, err
		}
	}
	for _, other := range signals {
		if other == s {
			continue
		}
		if o, oerr := unmarshal(other, encoding, data); oerr == nil && !o.empty() {
			return batch{}, fmt.Errorf("%w: %s in a file of %s", errWrongSignal, other, s)
		}
	}
	if err == nil {
		err = errEmpty
	}
	return batch{}, err
}

func unmarshal(s signal, encoding recording.Encoding, data []byte) (b batch, err error) {
	b.signal = s
	asJSON := encoding == recording.EncodingJSON
	switch s {
	case signalTraces:
		if asJSON {
			b.traces, err = (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(data)
		} else {
			b.traces, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(data)
		}
	case signalMetrics:
		if asJSON {
			b.metrics, err = (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(data)
		} else {
			b.metrics, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(data)
		}
	case signalLogs:
		if asJSON {
			b.logs, err = (&plog.JSONUnmarshaler{}).UnmarshalLogs(data)
		} else {
			b.logs, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(data)
		}
	}
	if err == nil {
		b.items = b.count()
	}
	return b, err
}

// count returns the number of items.
func (b *batch) count() int {
	switch b.signal {
	case signalTraces:
		return b.traces.SpanCount()
	case signalMetrics:
		return b.metrics.DataPointCount()
	default:
		return b.logs.LogRecordCount()
	}
}

// empty reports whether there is nothing to play. A metric without points is something: it passes as it was recorded.
func (b *batch) empty() bool {
	return b.items == 0 && (b.signal != signalMetrics || b.metrics.MetricCount() == 0)
}

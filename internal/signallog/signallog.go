// SPDX-License-Identifier: Apache-2.0

// Package signallog is the adapter between optimization signals and OpenTelemetry log records. A signal is an event: its name is the
// signal's kind, its resource the target, its body the envelope.
package signallog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// The attributes of a signal's log record.
const (
	AttributeID    = "optimization.signal.id"
	AttributeState = "optimization.signal.state"
)

// eventPrefix begins the event name of every signal.
const eventPrefix = "optimization."

// Errors of Read. They say why a record is not a signal that may be passed on.
var (
	ErrNotSignal = errors.New("log record is not an optimization signal")
	ErrBody      = errors.New("body of the signal's log record is not an envelope")
	ErrTooLarge  = errors.New("envelope is larger than a signal may be")
	ErrMismatch  = errors.New("event name and envelope differ")
)

// Append adds e to logs as a resource and one log record. observed is the time at which the record is made.
func Append(logs plog.Logs, scope, version string, observed pcommon.Timestamp, e signal.Envelope) error {
	data, err := e.MarshalCanonical()
	if err != nil {
		return err
	}
	rl := logs.ResourceLogs().AppendEmpty()
	putTarget(rl.Resource().Attributes(), e.Target)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scope)
	sl.Scope().SetVersion(version)
	rec := sl.LogRecords().AppendEmpty()
	rec.SetEventName(e.Kind)
	rec.SetTimestamp(pcommon.NewTimestampFromTime(e.UpdatedAt))
	rec.SetObservedTimestamp(observed)
	severity, text := severityOf(e)
	rec.SetSeverityNumber(severity)
	rec.SetSeverityText(text)
	rec.Attributes().PutStr(AttributeID, e.ID)
	rec.Attributes().PutStr(AttributeState, string(e.State))
	return putJSON(data, rec.Body())
}

func severityOf(e signal.Envelope) (plog.SeverityNumber, string) {
	switch {
	case e.State.Ended():
		return plog.SeverityNumberInfo, string(e.State)
	case e.Severity == signal.SeverityPage:
		return plog.SeverityNumberError, string(e.Severity)
	case e.Severity == signal.SeverityTicket:
		return plog.SeverityNumberWarn, string(e.Severity)
	default:
		return plog.SeverityNumberInfo, string(e.Severity)
	}
}

func putTarget(attrs pcommon.Map, t signal.Target) {
	for _, kv := range [][2]string{
		{"service.name", t.Service},
		{"service.namespace", t.Namespace},
		{"deployment.environment.name", t.Environment},
		{"service.version", t.Revision},
	} {
		if kv[1] != "" {
			attrs.PutStr(kv[0], kv[1])
		}
	}
}

// IsSignal reports whether the record claims to be a signal.
func IsSignal(rec plog.LogRecord) bool { return strings.HasPrefix(rec.EventName(), eventPrefix) }

// Read returns the envelope a record carries, validated.
func Read(rec plog.LogRecord) (signal.Envelope, error) {
	if !IsSignal(rec) {
		return signal.Envelope{}, ErrNotSignal
	}
	if rec.Body().Type() != pcommon.ValueTypeMap {
		return signal.Envelope{}, ErrBody
	}
	size := roughSize(rec.Body(), maxDepth)
	if size < 0 {
		return signal.Envelope{}, ErrBody
	}
	if size > signal.MaxBytes {
		return signal.Envelope{}, ErrTooLarge
	}
	data, err := json.Marshal(rec.Body().Map().AsRaw())
	if err != nil {
		return signal.Envelope{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	if len(data) > signal.MaxBytes {
		return signal.Envelope{}, ErrTooLarge
	}
	e, err := signal.Decode(data)
	if err != nil {
		return signal.Envelope{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	if e.Kind != rec.EventName() {
		return signal.Envelope{}, ErrMismatch
	}
	return e, nil
}

// maxDepth is how deep an envelope is nested at most, and some more.
const maxDepth = 8

// roughSize bounds the size of a value from below without building anything; it is negative for what nests deeper than depth.
func roughSize(v pcommon.Value, depth int) int {
	if depth == 0 {
		return -1
	}
	total := 0
	add := func(item pcommon.Value) bool {
		size := roughSize(item, depth-1)
		if size < 0 {
			total = -1
			return false
		}
		total += size
		return total <= signal.MaxBytes
	}
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return len(v.Str())
	case pcommon.ValueTypeBytes:
		return v.Bytes().Len()
	case pcommon.ValueTypeMap:
		for name, item := range v.Map().All() {
			if !add(item) {
				break
			}
			total += len(name)
		}
	case pcommon.ValueTypeSlice:
		for _, item := range v.Slice().All() {
			if !add(item) {
				break
			}
		}
	default:
		total = 1
	}
	return total
}

// putJSON decodes data into v and keeps the order of object keys, so that equal envelopes make equal records.
func putJSON(data []byte, v pcommon.Value) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := putNext(dec, v); err != nil {
		return fmt.Errorf("build body: %w", err)
	}
	return nil
}

func putNext(dec *json.Decoder, v pcommon.Value) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return putObject(dec, v.SetEmptyMap())
		}
		return putArray(dec, v.SetEmptySlice())
	case json.Number:
		if n, err := t.Int64(); err == nil {
			v.SetInt(n)
			return nil
		}
		f, err := t.Float64()
		if err != nil {
			return err
		}
		v.SetDouble(f)
	case string:
		v.SetStr(t)
	case bool:
		v.SetBool(t)
	}
	return nil
}

func putObject(dec *json.Decoder, m pcommon.Map) error {
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := name.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		if err := putNext(dec, m.PutEmpty(key)); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

func putArray(dec *json.Decoder, s pcommon.Slice) error {
	for dec.More() {
		if err := putNext(dec, s.AppendEmpty()); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

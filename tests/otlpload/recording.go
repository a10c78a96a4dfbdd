// SPDX-License-Identifier: Apache-2.0

// Package otlpload is a small OTLP sender and sink over gRPC: the load of the
// benchmarks, and the witness of the tests that count what was accepted and
// what arrived.
package otlpload

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// DefaultSpansPerRequest is the size of a request that SDKs and collectors
// batch to by default.
const DefaultSpansPerRequest = 512

var errEmptyRecording = errors.New("recording holds no span")

// Recording is a sequence of requests in memory, so that sending them costs no
// decoding.
type Recording struct {
	// Requests hold up to the asked number of spans each and are never written to.
	Requests []ptrace.Traces
	// Spans is the number of spans in all requests.
	Spans int
	// Length is the time from the first start to the last start of a span.
	Length time.Duration
}

// Read decodes a recording of one ExportTraceServiceRequest in JSON per line,
// gzipped if its name ends in .gz, and cuts it into requests.
func Read(path string, spansPerRequest int) (*Recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var reader io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if reader, err = gzip.NewReader(file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	recording, err := decode(reader, spansPerRequest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return recording, nil
}

func decode(reader io.Reader, spansPerRequest int) (*Recording, error) {
	cutter := newCutter(spansPerRequest)
	lines := bufio.NewReaderSize(reader, 1<<20)
	for number := 1; ; number++ {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil && !errors.Is(readErr, io.EOF) {
			return nil, fmt.Errorf("line %d: %w", number, readErr)
		}
		if len(strings.TrimSpace(string(line))) > 0 {
			traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			cutter.add(traces)
		}
		if readErr != nil {
			break
		}
	}
	return cutter.recording()
}

// cutter cuts traces into requests of a bounded number of spans. A resource is
// repeated in each request that holds spans of it.
type cutter struct {
	limit    int
	requests []ptrace.Traces
	// open is the request being filled, with this many spans in it.
	open        ptrace.Traces
	openSpans   int
	spans       int
	first, last pcommon.Timestamp
}

func newCutter(limit int) *cutter {
	if limit <= 0 {
		limit = DefaultSpansPerRequest
	}
	return &cutter{limit: limit, open: ptrace.NewTraces()}
}

func (c *cutter) add(traces ptrace.Traces) {
	for _, resource := range traces.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			target, opened := ptrace.SpanSlice{}, false
			for _, span := range scope.Spans().All() {
				if c.openSpans == c.limit {
					c.cut()
					opened = false
				}
				if !opened {
					target, opened = c.openScope(resource, scope), true
				}
				span.CopyTo(target.AppendEmpty())
				c.count(span.StartTimestamp())
			}
		}
	}
}

func (c *cutter) openScope(resource ptrace.ResourceSpans, scope ptrace.ScopeSpans) ptrace.SpanSlice {
	newResource := c.open.ResourceSpans().AppendEmpty()
	resource.Resource().CopyTo(newResource.Resource())
	newResource.SetSchemaUrl(resource.SchemaUrl())
	newScope := newResource.ScopeSpans().AppendEmpty()
	scope.Scope().CopyTo(newScope.Scope())
	newScope.SetSchemaUrl(scope.SchemaUrl())
	return newScope.Spans()
}

func (c *cutter) count(start pcommon.Timestamp) {
	if c.spans == 0 || start < c.first {
		c.first = start
	}
	c.last = max(c.last, start)
	c.openSpans++
	c.spans++
}

func (c *cutter) cut() {
	c.requests = append(c.requests, c.open)
	c.open, c.openSpans = ptrace.NewTraces(), 0
}

func (c *cutter) recording() (*Recording, error) {
	if c.openSpans > 0 {
		c.cut()
	}
	if c.spans == 0 {
		return nil, errEmptyRecording
	}
	return &Recording{Requests: c.requests, Spans: c.spans, Length: time.Duration(c.last - c.first)}, nil
}

// renewed copies a request for the given repetition. The first is as recorded;
// each later one gets trace ids of its own and continues in time where the one
// before it ended, so that no consumer sees a trace twice or time run backwards.
func (r *Recording) renewed(request ptrace.Traces, repetition int) ptrace.Traces {
	if repetition == 0 {
		return request
	}
	renewed := ptrace.NewTraces()
	request.CopyTo(renewed)
	shift := time.Duration(repetition) * (r.Length + time.Second)
	for _, resource := range renewed.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				span.SetTraceID(renewedID(span.TraceID(), repetition))
				span.SetStartTimestamp(span.StartTimestamp() + pcommon.Timestamp(shift))
				span.SetEndTimestamp(span.EndTimestamp() + pcommon.Timestamp(shift))
			}
		}
	}
	return renewed
}

// renewedID changes the half of the id that is random by W3C Trace Context
// level 2, by an odd multiplier so that no two repetitions coincide.
func renewedID(id pcommon.TraceID, repetition int) pcommon.TraceID {
	low := binary.BigEndian.Uint64(id[8:]) ^ (uint64(repetition) * 0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(id[8:], low)
	return id
}

// SPDX-License-Identifier: Apache-2.0

package otlpload

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Synthetic describes generated load: a front end that calls a chain of
// services, each with a server span, a client span to the next, and at the end
// a database call.
type Synthetic struct {
	// Traces is how many traces to make.
	Traces int
	// Services is the length of the chain; the default is 5.
	Services int
	// ErrorRatio is the share of traces, in [0, 1], whose last service fails.
	ErrorRatio float64
	// SpansPerRequest is as in Read.
	SpansPerRequest int
	// Start is the time of the first trace, Spacing the time between two; the
	// defaults are the start of 2026 and 10 ms.
	Start   time.Time
	Spacing time.Duration
	// Seed makes the same load from the same value. Two seeds share no span id.
	Seed uint64
}

var services = []string{"frontend", "cart", "checkout", "payment", "inventory", "shipping", "email", "ledger"}

// Generate makes the load.
func (s Synthetic) Generate() (*Recording, error) {
	if s.Services <= 0 {
		s.Services = 5
	}
	if s.Start.IsZero() {
		s.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if s.Spacing <= 0 {
		s.Spacing = 10 * time.Millisecond
	}
	random := rand.New(rand.NewPCG(s.Seed, 0x6f746c70))
	cutter := newCutter(s.SpansPerRequest)
	for i := range s.Traces {
		cutter.add(s.trace(random, i))
	}
	return cutter.recording()
}

func (s Synthetic) trace(random *rand.Rand, number int) ptrace.Traces {
	traces := ptrace.NewTraces()
	id := pcommon.TraceID{}
	binary.BigEndian.PutUint64(id[:8], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	start := s.Start.Add(time.Duration(number) * s.Spacing)
	fails := random.Float64() < s.ErrorRatio
	spanID := spanIDs(s.Seed, number)
	parent := pcommon.SpanID{}
	for depth := range s.Services {
		name := services[depth%len(services)]
		resource := traces.ResourceSpans().AppendEmpty()
		attributes := resource.Resource().Attributes()
		attributes.PutStr("service.name", name)
		attributes.PutStr("service.namespace", "shop")
		attributes.PutStr("service.instance.id", fmt.Sprintf("%s-%d", name, random.IntN(3)))
		scope := resource.ScopeSpans().AppendEmpty()
		scope.Scope().SetName("otlpload")

		took := time.Duration(s.Services-depth)*4*time.Millisecond + time.Duration(random.ExpFloat64()*float64(2*time.Millisecond))
		begin := start.Add(time.Duration(depth) * time.Millisecond)
		last := depth == s.Services-1

		server := scope.Spans().AppendEmpty()
		fill(server, id, spanID(), parent, "POST /"+name, ptrace.SpanKindServer, begin, took)
		server.Attributes().PutStr("http.request.method", "POST")
		server.Attributes().PutStr("http.route", "/"+name)
		server.Attributes().PutInt("http.response.status_code", 200)
		if fails {
			server.Attributes().PutInt("http.response.status_code", 500)
			server.Status().SetCode(ptrace.StatusCodeError)
		}

		client := scope.Spans().AppendEmpty()
		if last {
			fill(client, id, spanID(), server.SpanID(), "SELECT stock", ptrace.SpanKindClient, begin, took/2)
			client.Attributes().PutStr("db.system.name", "postgresql")
			client.Attributes().PutStr("db.query.summary", "SELECT stock")
			break
		}
		fill(client, id, spanID(), server.SpanID(), "POST", ptrace.SpanKindClient, begin, took*3/4)
		client.Attributes().PutStr("server.address", services[(depth+1)%len(services)])
		parent = client.SpanID()
	}
	return traces
}

// spanIDs counts up within a trace, so that ids are unique by construction and
// a test can tell every span from every other.
func spanIDs(seed uint64, trace int) func() pcommon.SpanID {
	next := uint32(0)
	return func() pcommon.SpanID {
		next++
		id := pcommon.SpanID{}
		binary.BigEndian.PutUint16(id[:2], uint16(seed))
		binary.BigEndian.PutUint32(id[2:6], uint32(trace))
		binary.BigEndian.PutUint16(id[6:], uint16(next))
		return id
	}
}

func fill(span ptrace.Span, trace pcommon.TraceID, id, parent pcommon.SpanID, name string, kind ptrace.SpanKind, begin time.Time, took time.Duration) {
	span.SetTraceID(trace)
	span.SetSpanID(id)
	span.SetParentSpanID(parent)
	span.SetName(name)
	span.SetKind(kind)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(begin))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(begin.Add(took)))
}

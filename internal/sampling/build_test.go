// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/otlpwire"
)

var origin = time.Unix(1_700_000_000, 0)

// testSpan is a span as tests write it down.
type testSpan struct {
	id         TraceID
	service    string
	version    string
	name       string
	state      string
	child      bool
	failed     bool
	bad        bool
	start, end uint64
	payload    int
	// span and parent, when set, are IDs; link is a trace, variant that of the flag "checkout-v2".
	span, parent byte
	link         uint64
	variant      string
}

func idOf(n uint64) (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], mix(n+1))
	binary.BigEndian.PutUint64(id[8:], mix(n+0x5bd1e995))
	return id
}

func stringAttribute(key, value string) []byte {
	return appendBytesField(appendBytesField(nil, otlpwire.KeyValueKey, []byte(key)), otlpwire.KeyValueValue,
		appendBytesField(nil, otlpwire.AnyString, []byte(value)))
}

func (s *testSpan) encode() []byte {
	b := appendBytesField(nil, otlpwire.SpanTraceID, s.id[:])
	if s.span > 0 {
		b = appendBytesField(b, otlpwire.SpanID, []byte{s.span, 0, 0, 0, 0, 0, 0, 1})
	} else {
		b = appendBytesField(b, otlpwire.SpanID, s.id[8:])
	}
	if s.parent > 0 {
		b = appendBytesField(b, otlpwire.SpanParentID, []byte{s.parent, 0, 0, 0, 0, 0, 0, 1})
	}
	if s.link > 0 {
		link := idOf(s.link)
		b = appendBytesField(b, otlpwire.SpanLinks, appendBytesField(nil, otlpwire.LinkTraceID, link[:]))
	}
	if s.state != "" {
		b = appendBytesField(b, otlpwire.SpanTraceState, []byte(s.state))
	}
	if s.child {
		b = appendBytesField(b, otlpwire.SpanParentID, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	b = appendBytesField(b, otlpwire.SpanName, []byte(s.name))
	b = binary.LittleEndian.AppendUint64(append(b, otlpwire.SpanStart<<3|otlpwire.Fixed64), s.start)
	b = binary.LittleEndian.AppendUint64(append(b, otlpwire.SpanEnd<<3|otlpwire.Fixed64), s.end)
	if s.bad {
		yes := appendBytesField(nil, otlpwire.KeyValueKey, []byte("slo.bad"))
		yes = appendBytesField(yes, otlpwire.KeyValueValue, []byte{otlpwire.AnyBool<<3 | otlpwire.Varint, 1})
		b = appendBytesField(b, otlpwire.SpanAttributes, yes)
	}
	if s.variant != "" {
		event := appendBytesField(nil, otlpwire.EventAttributes, stringAttribute("feature_flag.key", "checkout-v2"))
		event = appendBytesField(event, otlpwire.EventAttributes, stringAttribute("feature_flag.result.variant", s.variant))
		b = appendBytesField(b, otlpwire.SpanEvents, event)
	}
	if s.payload > 0 {
		value := make([]byte, s.payload)
		for i := range value {
			// Noise does not compress.
			value[i] = byte(mix(uint64(i)*31 + binary.BigEndian.Uint64(s.id[:8])))
		}
		b = appendBytesField(b, otlpwire.SpanAttributes, stringAttribute("payload", string(value)))
	}
	if s.failed {
		b = appendBytesField(b, otlpwire.SpanStatus, []byte{otlpwire.StatusCode<<3 | otlpwire.Varint, 2})
	}
	return b
}

// encodeRequest writes spans down as a request, with one resource each.
func encodeRequest(spans ...testSpan) (data []byte) {
	for i := range spans {
		s := &spans[i]
		resource := appendBytesField(nil, otlpwire.ResourceAttributes, stringAttribute("service.name", s.service))
		if s.version != "" {
			resource = appendBytesField(resource, otlpwire.ResourceAttributes, stringAttribute("service.version", s.version))
		}
		scope := appendBytesField(appendBytesField(nil, otlpwire.ScopeSpansScope, nil), otlpwire.ScopeSpansSpan, s.encode())
		data = appendBytesField(data, otlpwire.TracesResourceSpans,
			appendBytesField(appendBytesField(nil, otlpwire.ResourceSpansResource, resource), otlpwire.ResourceSpansScope, scope))
	}
	return data
}

type harness struct {
	t       testing.TB
	engine  *Engine
	program *Program
	batch   Batch
	out     Outputs
	now     time.Time
}

func newHarness(t testing.TB, settings Settings, policies ...Policy) *harness {
	p, err := Compile(policies)
	require.NoError(t, err)
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&settings.MaxTraces, 1_000_000)
	set(&settings.Remembered, 100_000)
	set(&settings.KeptDetails, 1000)
	set(&settings.Seen, 1000)
	if settings.Tick == 0 {
		settings.Tick = time.Second
	}
	if settings.MemoryLimit == 0 {
		settings.MemoryLimit = 1 << 30
	}
	e, err := New(settings, p, origin)
	require.NoError(t, err)
	return &harness{t: t, engine: e, program: p, now: origin}
}

// add brings a request, and packs what is full.
func (h *harness) add(spans ...testSpan) {
	require.NoError(h.t, h.batch.Parse(encodeRequest(spans...), h.program, nil))
	h.engine.Append(&h.batch, h.now, &h.out)
	for _, s := range h.engine.TakeSealed() {
		s.Compress(nil)
		h.engine.PutSealed(s)
	}
}

// advance moves time on and decides what is due.
func (h *harness) advance(d time.Duration) {
	h.now = h.now.Add(d)
	for h.engine.Due(h.now, 2048, 64, &h.out) {
	}
}

func (h *harness) flush() {
	for h.engine.Flush(h.now, 2048, &h.out) {
	}
}

// deliver takes the output away.
func (h *harness) deliver() {
	h.engine.Delivered(h.out.Kept)
	h.engine.Delivered(h.out.Late)
	h.out = Outputs{}
}

// kept lists the IDs of kept traces since the last call.
func (h *harness) kept() map[TraceID]Kept {
	m := make(map[TraceID]Kept)
	for _, k := range h.out.Kept {
		m[k.ID] = k
	}
	h.deliver()
	return m
}

var (
	always = Policy{Name: "all", Kind: KindAlways}
	errs   = Policy{Name: "errors", Kind: KindStatus, Values: []string{"ERROR"}}
)

func percent(p float64) Policy { return Policy{Name: "some", Kind: KindProbabilistic, Percent: p} }

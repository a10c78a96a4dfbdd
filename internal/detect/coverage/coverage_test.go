// SPDX-License-Identifier: Apache-2.0

package coverage

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func traceID(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)*0x9e3779b97f4a7c15+1)
	return id
}

func spanID(n int) (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n+1))
	return id
}

// observe hands over a trace as an adapter does: a chain of spans, one a service, without those left out.
func observe(d *Detector, n int, without map[string]bool, services ...string) {
	id := traceID(n)
	if !d.Follows(id) {
		return
	}
	for i, s := range services {
		if i > 0 {
			d.Called(s)
		}
		if without[s] {
			continue
		}
		var parent [8]byte
		if i > 0 {
			parent = spanID(i - 1)
		}
		d.Span(s, id, spanID(i), parent)
	}
}

// run lets minutes pass with 50 traces in each, and returns what was said.
func run(d *Detector, from time.Time, minutes int, without map[string]bool) []signal.Envelope {
	var said []signal.Envelope
	for m := range minutes {
		for i := range 50 {
			observe(d, int(from.Unix())*1000+m*50+i, without, "frontend", "checkout", "payment")
		}
		for s := 10; s <= 60; s += 10 {
			for _, c := range d.Advance(from.Add(time.Duration(m)*time.Minute + time.Duration(s)*time.Second)) {
				said = append(said, c.Envelope)
			}
		}
	}
	return said
}

func TestWholeTracesSayNothing(t *testing.T) {
	d := New(Default(100))
	assert.Empty(t, run(d, t0, 60, nil))
	r := d.Report()
	assert.Equal(t, 3, r.Services)
	assert.Equal(t, 3, r.Instrumented)
	assert.Equal(t, r.Judged, r.Whole)
	assert.Greater(t, r.Judged, int64(2500))
	assert.Empty(t, r.Orphans)
}

func TestAServiceWithoutSpansIsFoundAndBothGapsAreNamed(t *testing.T) {
	d := New(Default(100))
	said := run(d, t0, 20, map[string]bool{"checkout": true})
	require.NotEmpty(t, said)
	first := said[0]
	assert.Equal(t, signal.StateFiring, first.State)
	first.Guardrails = signal.Guardrails{Evaluated: []string{}, BlockedBy: []string{}}
	require.NoError(t, first.Validate())
	assert.InDelta(t, 0, *first.Evidence.Coverage, 0)
	assert.InDelta(t, 2, first.Evidence.Statistics["services.instrumented"], 0)
	assert.InDelta(t, 3, first.Evidence.Statistics["services.known"], 0)
	assert.Equal(t, []signal.Contributor{
		{Attribute: "service.peer.name", Value: "checkout"}, {Attribute: "service.name", Value: "payment"},
	}, first.Evidence.Contributors)
	assert.LessOrEqual(t, len(said), 4, "said again only when it changes or half of its validity has passed")

	// Once it reports, the signal ends, when the hour without it is over.
	later := run(d, t0.Add(20*time.Minute), 80, nil)
	require.NotEmpty(t, later)
	last := later[len(later)-1]
	assert.Equal(t, signal.StateResolved, last.State)
	assert.Equal(t, first.ID, last.ID)
}

func TestFewTracesAreNotJudged(t *testing.T) {
	d := New(Default(100))
	for i := range 150 {
		observe(d, i, map[string]bool{"checkout": true}, "frontend", "checkout", "payment")
	}
	for m := range 30 {
		assert.Empty(t, d.Advance(t0.Add(time.Duration(m)*time.Minute)))
	}
	assert.EqualValues(t, 150, d.Report().Judged)
}

// The detector's own bookkeeping against the definition, on random traces that lose random spans.
func TestWholeAgainstTheDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	settings := Default(100)
	d := New(settings)
	var whole, judged int64
	orphans := map[string]int64{}
	d.Advance(t0)
	for n := range 2000 {
		type made struct{ id, parent [8]byte }
		spans := map[int]made{}
		size := 1 + random.IntN(20)
		for i := range size {
			var parent [8]byte
			if i > 0 {
				parent = spanID(random.IntN(i))
			}
			if random.Float64() > 0.03 {
				spans[i] = made{spanID(i), parent}
			}
		}
		root, lost := false, 0
		for i, s := range spans {
			name := fmt.Sprint("service-", i%5)
			d.Span(name, traceID(n), s.id, s.parent)
			if s.parent == ([8]byte{}) {
				root = true
				continue
			}
			found := false
			for _, other := range spans {
				found = found || other.id == s.parent
			}
			if !found {
				lost++
				orphans[name]++
			}
		}
		if len(spans) == 0 {
			continue
		}
		judged++
		if root && lost == 0 {
			whole++
		}
	}
	d.Advance(t0.Add(10 * time.Second))
	d.Advance(t0.Add(2 * time.Minute))
	r := d.Report()
	assert.Equal(t, judged, r.Judged)
	assert.Equal(t, whole, r.Whole)
	for _, gap := range r.Orphans {
		assert.Equal(t, orphans[gap.Service], gap.Spans, gap.Service)
	}
	assert.Len(t, r.Orphans, len(orphans))
}

func TestStateIsBoundedWhateverComes(t *testing.T) {
	settings := Default(50)
	settings.MaxSpans = 1000
	d := New(settings)
	for n := range 20_000 {
		name := fmt.Sprint("service-", n%40)
		if id := traceID(n); d.Follows(id) {
			d.Span(name, id, spanID(1), spanID(2))
			d.Called(fmt.Sprint("called-", n))
		}
		if n%500 == 0 {
			d.Advance(t0.Add(time.Duration(n/500) * 10 * time.Second))
		}
		require.LessOrEqual(t, d.held, 1000)
		require.LessOrEqual(t, d.Services(), 50)
	}
	assert.Greater(t, d.Report().OneOf, 1, "traces are sampled where there are too many")

	for i := range 10_000 { // one endless trace
		d.Span("service-1", traceID(1<<40), spanID(i), spanID(i-1))
	}
	d.Advance(t0.Add(time.Hour))
	d.Advance(t0.Add(time.Hour + 2*time.Minute))
	assert.EqualValues(t, 1, d.Report().Large)
	assert.Zero(t, d.held)
	for h := range 3 {
		d.Advance(t0.Add(time.Duration(3+h) * time.Hour))
	}
	assert.Zero(t, d.Services(), "what is not heard of any more is forgotten")
	assert.Zero(t, d.Report().Judged)
}

func TestStateLivesThroughARestart(t *testing.T) {
	d := New(Default(100))
	first := run(d, t0, 20, map[string]bool{"payment": true})
	require.NotEmpty(t, first)
	data, err := d.Snapshot()
	require.NoError(t, err)
	again := New(Default(100))
	require.NoError(t, again.Restore(data))
	same, err := again.Snapshot()
	require.NoError(t, err)
	assert.Equal(t, data, same)
	later := run(again, t0.Add(20*time.Minute), 20, map[string]bool{"payment": true})
	require.NotEmpty(t, later)
	assert.Equal(t, first[0].ID, later[0].ID)

	for i := range data {
		broken := append([]byte(nil), data...)
		broken[i] ^= 1
		require.Error(t, again.Restore(broken))
	}
	require.ErrorIs(t, again.Restore(nil), detect.ErrSealDamaged)
}

func TestAKnownTraceCostsNoAllocation(t *testing.T) {
	d := New(Default(100))
	n := 0
	round := func() {
		for i := range 100 {
			observe(d, n*100+i, nil, "frontend", "checkout", "payment")
		}
		n++
		d.Advance(t0.Add(time.Duration(n) * time.Minute))
	}
	for range 100 {
		round()
	}
	perSpan := testing.AllocsPerRun(100, round) / 300
	assert.Less(t, perSpan, 0.02)
}

func BenchmarkSpan(b *testing.B) {
	d := New(Default(100))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		observe(d, n, nil, "frontend", "checkout", "payment", "inventory")
		if n%10_000 == 0 {
			d.Advance(t0.Add(time.Duration(n/1000) * time.Second))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(4*b.N), "ns/span")
}

// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/cost/request"
)

// requestBatch is the spans of one request to the collector; they count once the next component accepted it.
type requestBatch struct {
	accounts []account
	index    map[account]int
	spans    []request.Span
}

// observe takes the spans of one resource.
func (b *requestBatch) observe(a account, rs ptrace.ResourceSpans) {
	if b.index == nil {
		b.index = map[account]int{}
	}
	at, ok := b.index[a]
	if !ok {
		at = len(b.accounts)
		b.index[a] = at
		b.accounts = append(b.accounts, a)
	}
	for _, ss := range rs.ScopeSpans().All() {
		for _, span := range ss.Spans().All() {
			kind := span.Kind()
			s := request.Span{
				ID:      request.SpanID{Trace: span.TraceID(), Span: span.SpanID()},
				Parent:  request.SpanID{Trace: span.TraceID(), Span: span.ParentSpanID()},
				Account: at, Served: kind == ptrace.SpanKindServer || kind == ptrace.SpanKindConsumer,
				Waits: kind == ptrace.SpanKindClient || kind == ptrace.SpanKindProducer,
				Start: int64(span.StartTimestamp()), End: int64(span.EndTimestamp()),
				Weight: adjustedCount(span.TraceState().AsRaw()),
			}
			if s.Served || span.ParentSpanID().IsEmpty() {
				s.Operation = nameable(operationOf(span))
			}
			b.spans = append(b.spans, s)
		}
	}
}

// operationOf names what was asked for: the route, the remote procedure, or the span's own name.
func operationOf(span ptrace.Span) string {
	attrs := span.Attributes()
	if route := first(attrs, "", "http.route"); route != "" {
		return route
	}
	method := first(attrs, "", "rpc.method")
	if service := first(attrs, "", "rpc.service"); method != "" && service != "" {
		return service + "/" + method
	}
	if method != "" {
		return method
	}
	return span.Name()
}

// adjustedCount is how many spans one stands for, from the threshold that samplers leave in the trace state (OpenTelemetry, TraceState:
// Probability Sampling): th is the rejected share of 2^56, in hexadecimal without trailing zeros.
func adjustedCount(state string) float64 {
	for entry := range strings.SplitSeq(state, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(entry), "ot=")
		if !ok {
			continue
		}
		for field := range strings.SplitSeq(value, ";") {
			hex, ok := strings.CutPrefix(field, "th:")
			if !ok || len(hex) == 0 || len(hex) > 14 {
				continue
			}
			threshold, err := strconv.ParseUint(hex+strings.Repeat("0", 14-len(hex)), 16, 64)
			if err != nil {
				return 1
			}
			const all = 1 << 56
			return all / float64(all-threshold)
		}
	}
	return 1
}

// requestMeter sums requests of a window. Operations beyond the bound count for their service, under __overflow__.
type requestMeter struct {
	maxAccounts, maxOperations int

	mu     sync.Mutex // guards window and seen
	window requestWindow
	seen   map[account]bool // accounts of which spans came, at most maxAccounts
}

// requestWindow is what was asked for in one window.
type requestWindow struct {
	accounts map[account]*requestCount
	entries  map[entryKey]*entryCount
}

// requestCount is the requests that one account served.
type requestCount struct {
	seconds    float64       // all it worked, for whatever
	all        request.Tally // requests, and the work for them
	operations map[string]request.Tally
}

// entryKey is one operation through which requests enter.
type entryKey struct {
	account   account
	operation string
}

// entryCount is how many entered, and the seconds that every account worked for them.
type entryCount struct {
	count   float64
	seconds map[account]float64
}

func newRequestMeter(maxAccounts, maxOperations int) *requestMeter {
	return &requestMeter{maxAccounts: maxAccounts, maxOperations: maxOperations, window: newRequestWindow(), seen: map[account]bool{}}
}

// spoken says whether spans of the account were seen since the start.
func (m *requestMeter) spoken(a account) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[a]
}

func newRequestWindow() requestWindow {
	return requestWindow{accounts: map[account]*requestCount{}, entries: map[entryKey]*entryCount{}}
}

func (m *requestMeter) commit(b *requestBatch) {
	if len(b.spans) == 0 {
		return
	}
	work := request.Attribute(b.spans)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range b.accounts {
		if len(m.seen) < m.maxAccounts {
			m.seen[a] = true
		}
	}
	for key, t := range work.Served {
		m.served(b.accounts[key.Account], key.Operation, t)
	}
	for key, e := range work.Entries {
		if e.Count == 0 {
			continue
		}
		to := m.entry(entryKey{b.accounts[key.Account], key.Operation})
		to.count += e.Count
		for at, seconds := range e.Seconds {
			to.seconds[b.accounts[at]] += seconds
		}
	}
}

// served adds work for an operation; m.mu is held.
func (m *requestMeter) served(key account, operation string, t request.Tally) {
	a, ok := m.window.accounts[key]
	if !ok {
		if len(m.window.accounts) >= m.maxAccounts {
			key = account{service: overflow, owner: overflow}
			a = m.window.accounts[key]
		}
		if a == nil {
			a = &requestCount{operations: map[string]request.Tally{}}
			m.window.accounts[key] = a
		}
	}
	a.seconds += t.Seconds
	if operation == "" && t.Count == 0 {
		return // work for no known request
	}
	if _, ok := a.operations[operation]; !ok && len(a.operations) >= m.maxOperations {
		operation = overflow
	}
	o := a.operations[operation]
	a.all = request.Tally{Count: a.all.Count + t.Count, Seconds: a.all.Seconds + t.Seconds}
	a.operations[operation] = request.Tally{Count: o.Count + t.Count, Seconds: o.Seconds + t.Seconds}
}

// entry is the count of an entry; m.mu is held.
func (m *requestMeter) entry(key entryKey) *entryCount {
	e, ok := m.window.entries[key]
	if !ok {
		if len(m.window.entries) >= m.maxAccounts {
			key = entryKey{account{service: overflow, owner: overflow}, overflow}
			e = m.window.entries[key]
		}
		if e == nil {
			e = &entryCount{seconds: map[account]float64{}}
			m.window.entries[key] = e
		}
	}
	return e
}

// take returns the window and begins the next.
func (m *requestMeter) take() requestWindow {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.window
	m.window = newRequestWindow()
	return out
}

// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// tally is requests and the seconds they took.
type tally struct {
	count, busy float64
}

// requestKey is one operation of one account.
type requestKey struct {
	account   account
	operation string
}

// requestCounts are the requests of one batch; they count once the next component accepted it.
type requestCounts map[requestKey]tally

// observe counts the requests that a service served: its server and consumer spans, each with the weight its sampling gave it.
func (c *requestCounts) observe(a account, rs ptrace.ResourceSpans) {
	for _, ss := range rs.ScopeSpans().All() {
		for _, span := range ss.Spans().All() {
			if span.Kind() != ptrace.SpanKindServer && span.Kind() != ptrace.SpanKindConsumer {
				continue
			}
			if *c == nil {
				*c = requestCounts{}
			}
			weight := adjustedCount(span.TraceState().AsRaw())
			busy := 0.0
			if span.EndTimestamp() > span.StartTimestamp() {
				busy = span.EndTimestamp().AsTime().Sub(span.StartTimestamp().AsTime()).Seconds()
			}
			key := requestKey{a, operationOf(span)}
			t := (*c)[key]
			t.count += weight
			t.busy += weight * busy
			(*c)[key] = t
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

	mu       sync.Mutex // guards accounts
	accounts map[account]*requestCount
}

// requestCount is the requests of one account.
type requestCount struct {
	all        tally
	operations map[string]tally
}

func newRequestMeter(maxAccounts, maxOperations int) *requestMeter {
	return &requestMeter{maxAccounts: maxAccounts, maxOperations: maxOperations, accounts: map[account]*requestCount{}}
}

func (m *requestMeter) commit(c requestCounts) {
	if len(c) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, t := range c {
		a, ok := m.accounts[key.account]
		if !ok {
			if len(m.accounts) >= m.maxAccounts {
				continue // the account overflows in the telemetry account too, and costs nothing of its own there
			}
			a = &requestCount{operations: map[string]tally{}}
			m.accounts[key.account] = a
		}
		operation := key.operation
		if _, ok := a.operations[operation]; !ok && len(a.operations) >= m.maxOperations {
			operation = overflow
		}
		o := a.operations[operation]
		a.all.count, a.all.busy = a.all.count+t.count, a.all.busy+t.busy
		a.operations[operation] = tally{o.count + t.count, o.busy + t.busy}
	}
}

// take returns the requests of the window and begins the next.
func (m *requestMeter) take() map[account]*requestCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.accounts
	m.accounts = map[account]*requestCount{}
	return out
}

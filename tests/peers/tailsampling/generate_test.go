// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// traffic draws requests that cut across traces: several services and scopes, late roots, odd times, attributes of the wrong type, and
// keys that come twice.
func traffic(r *rand.Rand, traces int, withOT bool) []ptrace.Traces {
	const perRequest = 40
	requests := make([]ptrace.Traces, 0, 1+traces*6/perRequest)
	var spans int
	var request ptrace.Traces
	for i := range traces {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[:8], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64())
		state := traceState(r, withOT)
		start := uint64(1_700_000_000_000_000_000) + r.Uint64N(1e9)
		length := 1 + r.IntN(3)*r.IntN(6)
		for range length {
			if spans%perRequest == 0 {
				request = ptrace.NewTraces()
				requests = append(requests, request)
			}
			spans++
			target := requests[len(requests)-1]
			if len(requests) > 1 && r.IntN(4) == 0 {
				target = requests[r.IntN(len(requests))]
			}
			addSpan(r, target, id, state, start, i)
		}
	}
	return requests
}

func traceState(r *rand.Rand, withOT bool) string {
	switch n := r.IntN(6); {
	case n == 0:
		return fmt.Sprintf("vendor=v%d", r.IntN(3))
	case n == 1:
		return fmt.Sprintf("a=b,vendor=v%d", r.IntN(3))
	case n == 2:
		return "not a tracestate=,,"
	case withOT && n == 3:
		return fmt.Sprintf("ot=rv:%014x", r.Uint64()>>8)
	case withOT && n == 4:
		return "vendor=v1,ot=th:0"
	}
	return ""
}

func addSpan(r *rand.Rand, td ptrace.Traces, id pcommon.TraceID, state string, start uint64, n int) {
	var rs ptrace.ResourceSpans
	if td.ResourceSpans().Len() > 0 && r.IntN(3) > 0 {
		rs = td.ResourceSpans().At(r.IntN(td.ResourceSpans().Len()))
	} else {
		rs = td.ResourceSpans().AppendEmpty()
		if r.IntN(8) > 0 {
			rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("service-%d", r.IntN(4)))
		}
		putSome(r, rs.Resource().Attributes(), 6)
	}
	var ss ptrace.ScopeSpans
	if rs.ScopeSpans().Len() > 0 && r.IntN(2) > 0 {
		ss = rs.ScopeSpans().At(r.IntN(rs.ScopeSpans().Len()))
	} else {
		ss = rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName(fmt.Sprintf("scope-%d", r.IntN(2)))
	}
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(id)
	var span pcommon.SpanID
	binary.BigEndian.PutUint64(span[:], r.Uint64())
	s.SetSpanID(span)
	if r.IntN(3) > 0 {
		s.SetParentSpanID(pcommon.SpanID{1, byte(n)})
	}
	s.SetName(fmt.Sprintf("op-%d", r.IntN(5)))
	s.SetKind(ptrace.SpanKind(r.IntN(6)))
	s.TraceState().FromRaw(state)
	s.SetStartTimestamp(pcommon.Timestamp(start + r.Uint64N(200_000_000)))
	s.SetEndTimestamp(s.StartTimestamp() + pcommon.Timestamp(r.Uint64N(400_000_000)))
	switch r.IntN(40) {
	case 0:
		s.SetStartTimestamp(0)
	case 1:
		s.SetEndTimestamp(s.StartTimestamp() - 5_000_000)
	case 2:
		s.SetEndTimestamp(1 << 63)
	}
	s.Status().SetCode(ptrace.StatusCode([]int{0, 0, 0, 0, 1, 2}[r.IntN(6)]))
	s.SetFlags(uint32(r.IntN(4)) << uint(r.IntN(9)))
	putSome(r, s.Attributes(), 3)
	for range r.IntN(2) * r.IntN(3) {
		e := s.Events().AppendEmpty()
		e.SetName([]string{"exception", "retry"}[r.IntN(2)])
		putSome(r, e.Attributes(), 3)
	}
}

// putSome adds a few of the attributes that policies ask for, one time in oneIn each.
func putSome(r *rand.Rand, m pcommon.Map, oneIn int) {
	if r.IntN(oneIn) == 0 {
		m.PutStr("text", fmt.Sprintf("value-%d", r.IntN(6)))
	}
	if r.IntN(oneIn) == 0 {
		m.PutInt("number", int64(r.IntN(100)))
	}
	if r.IntN(oneIn) == 0 {
		m.PutBool("flag", r.IntN(2) == 0)
	}
	switch r.IntN(12 * oneIn) {
	case 0:
		m.PutStr("number", "12")
	case 1:
		m.PutInt("text", 12)
	case 2:
		m.PutStr("text", "")
	case 3:
		m.PutDouble("flag", 1)
	}
}

// policySet draws a configuration. Everything in it decides by the trace alone.
func policySet(r *rand.Rand) map[string]any {
	g := policyGenerator{r: r, ingest: r.IntN(6) == 0}
	cfg := map[string]any{"decision_wait": "10m", "num_traces": 1_000_000, "expected_new_traces_per_sec": 10}
	if g.ingest {
		cfg["sampling_strategy"] = "span-ingest"
	}
	if r.IntN(5) == 0 {
		cfg["sample_on_first_match"] = true
	}
	if r.IntN(5) == 0 {
		cfg["maximum_trace_size_bytes"] = 200 + r.IntN(1500)
	}
	if r.IntN(3) == 0 {
		cfg["decision_cache"] = map[string]any{"sampled_cache_size": 100_000, "non_sampled_cache_size": 100_000}
	}
	var policies []any
	for range 1 + r.IntN(4) {
		policies = append(policies, g.policy(2))
	}
	cfg["policies"] = policies
	return cfg
}

type policyGenerator struct {
	r      *rand.Rand
	n      int
	ingest bool
}

func (g *policyGenerator) named(kind string, section map[string]any) map[string]any {
	g.n++
	p := map[string]any{"name": fmt.Sprintf("policy-%d", g.n), "type": kind}
	if section != nil {
		p[kind] = section
	}
	return p
}

// policy draws a policy that may have parts while depth lasts.
func (g *policyGenerator) policy(depth int) map[string]any {
	if depth == 2 {
		switch g.r.IntN(8) {
		case 0:
			return g.named("and", map[string]any{"and_sub_policy": g.parts()})
		case 1:
			return g.named("drop", map[string]any{"drop_sub_policy": g.parts()})
		case 2:
			return g.named("not", map[string]any{"not_sub_policy": g.leaf()})
		case 3:
			if !g.ingest {
				return g.composite()
			}
		}
	}
	return g.leaf()
}

func (g *policyGenerator) parts() (parts []any) {
	for range 1 + g.r.IntN(3) {
		if g.r.IntN(4) == 0 {
			parts = append(parts, g.named("not", map[string]any{"not_sub_policy": g.leaf()}))
		} else {
			parts = append(parts, g.leaf())
		}
	}
	return parts
}

// composite draws one with more budget than any traffic needs: what it does when the budget is short depends on the clock.
func (g *policyGenerator) composite() map[string]any {
	var parts, order []any
	for range 1 + g.r.IntN(3) {
		p := g.leaf()
		parts, order = append(parts, p), append(order, p["name"])
	}
	return g.named("composite", map[string]any{
		"max_total_spans_per_second": 1_000_000_000, "policy_order": order, "composite_sub_policy": parts,
		"rate_allocation": []any{map[string]any{"policy": order[0], "percent": 50}},
	})
}

func (g *policyGenerator) leaf() map[string]any {
	r := g.r
	switch r.IntN(13) {
	case 0:
		return g.named("latency", g.latency())
	case 1:
		return g.named("numeric_attribute", map[string]any{
			"key": "number", "min_value": r.IntN(50), "max_value": 50 + r.IntN(50), "invert_match": r.IntN(3) == 0,
		})
	case 2:
		return g.named("probabilistic", map[string]any{
			"sampling_percentage": 100 * r.Float64(), "hash_salt": []string{"", "", "salt", "pepper"}[r.IntN(4)],
		})
	case 3:
		return g.named("status_code", map[string]any{"status_codes": []any{[]string{"ERROR", "OK", "UNSET"}[r.IntN(3)], "ERROR"}})
	case 4:
		return g.named("string_attribute", map[string]any{
			"key": "text", "values": []any{fmt.Sprintf("value-%d", r.IntN(6)), "", "value-1"}, "invert_match": r.IntN(3) == 0,
		})
	case 5:
		return g.named("string_attribute", map[string]any{
			"key": "text", "values": []any{fmt.Sprintf("e-[%d-9]", r.IntN(6)), "^$"}, "enabled_regex_matching": true,
			"cache_max_size": r.IntN(4), "invert_match": r.IntN(3) == 0,
		})
	case 6:
		return g.named("string_attribute", map[string]any{"key": "service.name", "values": []any{fmt.Sprintf("service-%d", r.IntN(4))}})
	case 7:
		section := map[string]any{"min_spans": 1 + r.IntN(6)}
		if !g.ingest && r.IntN(2) == 0 {
			section["max_spans"] = 4 + r.IntN(8)
		}
		return g.named("span_count", section)
	case 8:
		return g.named("trace_state", map[string]any{"key": "vendor", "values": []any{fmt.Sprintf("v%d", r.IntN(3))}})
	case 9:
		return g.named("boolean_attribute", map[string]any{"key": "flag", "value": r.IntN(2) == 0, "invert_match": r.IntN(3) == 0})
	case 10:
		return g.named("trace_flags", nil)
	case 11:
		return g.named("ottl_condition", g.condition())
	}
	if r.IntN(3) == 0 {
		return g.named("always_sample", nil)
	}
	return g.leaf()
}

func (g *policyGenerator) latency() map[string]any {
	section := map[string]any{"threshold_ms": g.r.IntN(500)}
	if !g.ingest && g.r.IntN(2) == 0 {
		section["upper_threshold_ms"] = 100 + g.r.IntN(600)
	}
	return section
}

func (g *policyGenerator) condition() map[string]any {
	r := g.r
	section := map[string]any{"error_mode": []string{"ignore", "propagate", "silent"}[r.IntN(3)]}
	if r.IntN(4) > 0 {
		section["span"] = []any{
			fmt.Sprintf("attributes[\"number\"] > %d", r.IntN(100)),
			fmt.Sprintf("resource.attributes[\"text\"] == \"value-%d\"", r.IntN(6)),
			`Int(span.attributes["text"]) == 12 and Substring(name, 1, 2) == "p-"`,
		}[:1+r.IntN(3)]
	}
	if _, has := section["span"]; !has || r.IntN(2) == 0 {
		section["spanevent"] = []any{
			fmt.Sprintf("name == \"exception\" and attributes[\"number\"] > %d", r.IntN(100)),
			`Len(attributes["number"]) > 3`,
		}[:1+r.IntN(2)]
	}
	return section
}

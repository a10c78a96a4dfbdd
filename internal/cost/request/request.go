// SPDX-License-Identifier: Apache-2.0

// Package request attributes the time that services worked to the requests they worked for. A span works while none of its children does
// (self time, or exclusive time), and a span that waits for another service does not work: so no time counts twice along a trace, however
// often it fans out or retries.
package request

import (
	"cmp"
	"slices"
)

// SpanID identifies a span within all spans given.
type SpanID struct {
	Trace [16]byte
	Span  [8]byte
}

// Span is what attribution needs of a span.
type Span struct {
	ID     SpanID
	Parent SpanID // Parent.Span is zero for the root of a trace
	// Account is whom the span belongs to.
	Account int
	// Served marks the spans with which a service begins to work on a request: server and consumer spans.
	Served bool
	// Waits marks the spans with which it waits for another or hands over: client and producer spans.
	Waits bool
	// Operation names what was asked for.
	Operation string
	// Start and End are nanoseconds.
	Start, End int64
	// Weight is how many spans this one stands for.
	Weight float64
}

// Key is one operation of one account. An empty operation is work for no request that is known.
type Key struct {
	Account   int
	Operation string
}

// Tally is requests, and the seconds worked for them.
type Tally struct {
	Count, Seconds float64
}

// Work is whose time went into which requests.
type Work struct {
	// Served is the work of each account by the operation it served itself.
	Served map[Key]Tally
	// Entries are the requests that entered from outside: how many, and the seconds that each account worked for them. Work in traces whose
	// beginning is not among the spans is in Served only.
	Entries map[Key]*Entry
}

// Entry is one operation through which requests enter.
type Entry struct {
	Count   float64
	Seconds map[int]float64 // by account
}

// node is a span with its place in the trace.
type node struct {
	*Span
	parent   int // index, −1 for none among the spans
	children []int
}

// Attribute works out whose time went into which requests. Spans that are their own ancestors work for no known request.
func Attribute(spans []Span) Work {
	nodes := make([]node, len(spans))
	index := make(map[SpanID]int, len(spans))
	for i := range spans {
		nodes[i] = node{Span: &spans[i], parent: -1}
		index[spans[i].ID] = i
	}
	for i := range nodes {
		if p, ok := index[nodes[i].Parent]; ok && p != i && nodes[i].Parent.Span != [8]byte{} {
			nodes[i].parent = p
			nodes[p].children = append(nodes[p].children, i)
		}
	}
	w := Work{Served: map[Key]Tally{}, Entries: map[Key]*Entry{}}
	for i := range nodes {
		n := &nodes[i]
		served, top := ancestors(nodes, i)
		seconds := n.Weight * self(nodes, i)
		key := Key{Account: n.Account}
		if served >= 0 {
			key.Operation = nodes[served].Operation
		}
		t := w.Served[key]
		t.Seconds += seconds
		if n.Served {
			t.Count += n.Weight
		}
		w.Served[key] = t
		if top < 0 || nodes[top].Parent.Span != [8]byte{} {
			continue
		}
		entry := Key{nodes[top].Account, nodes[top].Operation}
		e, ok := w.Entries[entry]
		if !ok {
			e = &Entry{Seconds: map[int]float64{}}
			w.Entries[entry] = e
		}
		e.Seconds[n.Account] += seconds
		if top == i {
			e.Count += n.Weight
		}
	}
	return w
}

// ancestors finds the span with which the account of span i began to work on the request, −1 if there is none, and the first span of the
// trace, −1 if there is none because spans run in a circle.
func ancestors(nodes []node, i int) (served, top int) {
	served = -1
	account, same := nodes[i].Account, true
	for steps := 0; ; steps++ {
		if steps > len(nodes) {
			return -1, -1
		}
		same = same && nodes[i].Account == account
		if same && served < 0 && nodes[i].Served {
			served = i
		}
		if nodes[i].parent < 0 {
			return served, i
		}
		i = nodes[i].parent
	}
}

// self is the seconds in which a span worked and none of its children did.
func self(nodes []node, i int) float64 {
	n := &nodes[i]
	if n.Waits || n.End <= n.Start {
		return 0
	}
	children := make([][2]int64, 0, len(n.children))
	for _, c := range n.children {
		if from, to := max(nodes[c].Start, n.Start), min(nodes[c].End, n.End); from < to {
			children = append(children, [2]int64{from, to})
		}
	}
	slices.SortFunc(children, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	busy, until := n.End-n.Start, n.Start
	for _, c := range children {
		if from := max(c[0], until); from < c[1] {
			busy -= c[1] - from
			until = c[1]
		}
	}
	return float64(busy) / 1e9
}

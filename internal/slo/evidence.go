// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"bytes"
	"cmp"
	"slices"
)

const (
	// maxExemplars is how many bad events of a group are remembered.
	maxExemplars = 16
	// AlertExemplars is how many of them an alert carries.
	AlertExemplars = 5
	// AlertContributors is how many contributors an alert carries.
	AlertContributors = 5
	// maxContributors is how many values of one attribute are followed in one generation.
	maxContributors = 16
)

// TraceID is a W3C trace id; the zero value is none.
type TraceID [16]byte

// exemplar is a bad event that can be looked up.
type exemplar struct {
	at int64
	id TraceID
}

// exemplars keeps the most recent bad events with distinct trace ids. What is kept does not depend on the order of arrival.
type exemplars []exemplar

func (x *exemplars) add(e exemplar) {
	if e.id == (TraceID{}) {
		return
	}
	for i := range *x {
		if (*x)[i].id == e.id {
			(*x)[i].at = max((*x)[i].at, e.at)
			return
		}
	}
	if len(*x) < maxExemplars {
		*x = append(*x, e)
		return
	}
	oldest := 0
	for i := range *x {
		if older((*x)[i], (*x)[oldest]) {
			oldest = i
		}
	}
	if older((*x)[oldest], e) {
		(*x)[oldest] = e
	}
}

// within returns up to n trace ids of events from `from` on and before `to`, newest first.
func (x exemplars) within(from, to int64, n int) []TraceID {
	var some exemplars
	for _, e := range x {
		if e.at >= from && e.at < to {
			some = append(some, e)
		}
	}
	return some.recent(from-1, n)
}

// newest orders the newest exemplar first.
func newest(a, b exemplar) int {
	return cmp.Or(cmp.Compare(b.at, a.at), bytes.Compare(b.id[:], a.id[:]))
}

func older(a, b exemplar) bool { return newest(a, b) > 0 }

// recent returns up to n trace ids of events after since, newest first.
func (x exemplars) recent(since int64, n int) []TraceID {
	sorted := slices.Clone(x)
	slices.SortFunc(sorted, newest)
	var ids []TraceID
	for _, e := range sorted {
		if len(ids) == n || e.at <= since {
			break
		}
		ids = append(ids, e.id)
	}
	return ids
}

// Contributor is one attribute value and its part in the bad events.
type Contributor struct {
	Attribute string
	Value     string
	Bad       float64
	Total     float64
	// Share is this value's part of all bad events of the group, in [0, 1].
	Share float64
}

// contribution names a value of one of the engine's contributor attributes.
type contribution struct {
	attribute uint8
	value     string
}

type tallied struct {
	contribution
	good, bad Weight
}

// contributors follows the values with most bad events, per attribute, in two generations so that old ones fade. Within a
// generation it is the space-saving algorithm (Metwally, Agrawal, El Abbadi, ICDT 2005), without its over-estimate:
// an evicted value starts again at zero, so a share is a lower bound.
type contributors struct {
	generation [2]int64 // number of each generation: time ÷ its length
	tables     [2][]tallied
}

func (c *contributors) add(generation int64, t tallied) {
	at := int(floorMod(generation, 2))
	switch {
	case c.generation[at] > generation:
		return
	case c.generation[at] < generation:
		c.generation[at] = generation
		c.tables[at] = c.tables[at][:0]
	}
	table := c.tables[at]
	count, least := 0, -1
	for i := range table {
		if table[i].attribute != t.attribute {
			continue
		}
		if table[i].value == t.value {
			table[i].good = table[i].good.plus(t.good)
			table[i].bad = table[i].bad.plus(t.bad)
			return
		}
		count++
		if least < 0 || table[i].bad < table[least].bad {
			least = i
		}
	}
	switch {
	case count < maxContributors:
		t.value = string([]byte(t.value)) // the caller's string may pin a whole request
		c.tables[at] = append(table, t)
	case t.bad > table[least].bad:
		t.value = string([]byte(t.value))
		table[least] = t
	}
}

// worst merges the generations from `oldest` on and returns the AlertContributors values that stand out most: those with most bad events
// beyond what their share of the traffic explains, and then those with most bad events. A version that all traffic goes to has all bad events
// and says nothing.
func (c *contributors) worst(names []string, oldest int64, allBad Weight) []Contributor {
	var merged []tallied
	for at := range c.tables {
		if c.generation[at] < oldest {
			continue
		}
		for _, t := range c.tables[at] {
			i := slices.IndexFunc(merged, func(m tallied) bool { return m.contribution == t.contribution })
			if i < 0 {
				merged = append(merged, t)
				continue
			}
			merged[i].good = merged[i].good.plus(t.good)
			merged[i].bad = merged[i].bad.plus(t.bad)
		}
	}
	merged = slices.DeleteFunc(merged, func(t tallied) bool { return int(t.attribute) >= len(names) })
	whole := make([]tallied, len(names)) // all values of an attribute together
	for _, t := range merged {
		w := &whole[t.attribute]
		w.good, w.bad = w.good.plus(t.good), w.bad.plus(t.bad)
	}
	merged = slices.DeleteFunc(merged, func(t tallied) bool { return t.bad == 0 })
	slices.SortFunc(merged, func(a, b tallied) int {
		return cmp.Or(cmp.Compare(b.excess(whole[b.attribute]), a.excess(whole[a.attribute])), cmp.Compare(b.bad, a.bad), cmp.Compare(a.good, b.good), cmp.Compare(a.attribute, b.attribute), cmp.Compare(a.value, b.value))
	})
	merged = merged[:min(AlertContributors, len(merged))]
	out := make([]Contributor, 0, len(merged))
	for _, t := range merged {
		out = append(out, Contributor{
			Attribute: names[t.attribute], Value: t.value, Bad: t.bad.Float(), Total: (t.good + t.bad).Float(),
			Share: t.bad.Float() / max(allBad, t.bad).Float(),
		})
	}
	return out
}

// minExcess is the part of all bad events by which a value must exceed its share, so that it stands out.
const minExcess = 0.1

// excess is how many bad events a value has beyond its share of the events of its attribute; 0 where that is too little to stand out.
func (t tallied) excess(whole tallied) float64 {
	bad, events := whole.bad.Float(), whole.bad.Float()+whole.good.Float()
	if over := t.bad.Float() - (t.good.Float()+t.bad.Float())*bad/events; over >= minExcess*bad {
		return over
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package limit

import "strconv"

// attribute is the state of one attribute key of a metric.
type attribute struct {
	key       string
	hash      uint64
	rule      *ruleState
	protected bool
	squeezed  bool // folded as a whole to make room for series
	values    admission
	without   hyperLogLog // series wanted if the attribute were folded as a whole
	lastSaves float64
	folded    uint64 // points
	pair      uint64 // of the point being measured
	overflow  uint64 // the pair with the overflow value
	place     int    // among a point's attributes, where it was last
}

type ruleState struct {
	*Rule
	toHash  uint64
	buckets []string
	dryRun  uint64
}

func newRuleState(r *Rule) ruleState {
	s := ruleState{Rule: r, toHash: HashString(r.To)}
	if r.Action == ActionHash {
		for i := range r.Buckets {
			s.buckets = append(s.buckets, "bucket_"+strconv.Itoa(i))
		}
	}
	return s
}

// attribute finds or makes the state of a key; nil means that the metric has too many keys.
func (m *Metric) attribute(i int, a *Attr) *attribute {
	if i < len(m.list) && m.list[i].hash == a.KeyHash {
		return m.list[i] // senders keep the order of attributes
	}
	if st := m.attributes[a.KeyHash]; st != nil {
		return st
	}
	if len(m.list) >= m.l.settings.Limits.Keys || m.l.full() || len(a.Key) > maxName {
		return nil
	}
	st := &attribute{key: a.Key, hash: a.KeyHash, protected: m.l.protects(a.Key), overflow: Mix(a.KeyHash, overflowValueHash)}
	st.values.limit = m.l.settings.Limits.Attribute
	for _, o := range m.l.settings.Overrides {
		if o.Attribute != nil && matchAnyOrAll(o.Metrics, m.key.name) && matchAnyOrAll(o.Attributes, a.Key) {
			st.values.limit = *o.Attribute
			break
		}
	}
	for i := range m.l.rules {
		if r := &m.l.rules[i]; matchAnyOrAll(r.Metrics, m.key.name) && matchAnyOrAll(r.Attributes, a.Key) {
			st.rule = r
			break
		}
	}
	m.attributes[a.KeyHash] = st
	m.list = append(m.list, st)
	m.chargeFixed(attributeBytes + len(a.Key))
	return st
}

// apply runs the attribute's rule. limited says that the attribute's limit has to be asked.
func (m *Metric) apply(st *attribute, p *Point, a *Attr, count bool) (key, value uint64, change Change, limited bool) {
	key, value = a.KeyHash, a.ValueHash
	r := st.rule
	if r == nil {
		return key, value, Change{}, true
	}
	if r.DryRun {
		if count {
			r.dryRun++
			m.l.stats.DryRun++
		}
		return key, value, Change{}, true
	}
	switch r.Action {
	case ActionKeep:
		return key, value, Change{}, false
	case ActionDrop:
		return key, value, Change{Action: ActionDrop}, false
	case ActionFold:
		return key, value, Change{Action: ActionFold, Text: OverflowValue}, false
	case ActionRename:
		for i := range p.Attrs {
			if p.Attrs[i].KeyHash == r.toHash {
				return key, value, Change{Action: ActionDrop}, false // the attribute that has the name already keeps it
			}
		}
		return r.toHash, value, Change{Action: ActionRename, Text: r.To}, true
	case ActionHash:
		text := r.buckets[Mix(value, mixB)%uint64(len(r.buckets))]
		return key, HashString(text), Change{Action: ActionHash, Text: text}, false
	case ActionTemplate:
		if a.IsText {
			text := m.l.template(a.Text, value)
			return key, HashString(text), Change{Action: ActionTemplate, Text: text}, true
		}
	}
	return key, value, Change{}, true
}

// maxTexts bounds the cache of templated values.
const maxTexts = 8192

func (l *Limiter) template(text string, hash uint64) string {
	if t, ok := l.texts[hash]; ok {
		return t
	}
	t := Template(text)
	if len(text) <= 512 {
		if len(l.texts) >= maxTexts {
			clear(l.texts)
		}
		if t == text {
			t = string([]byte(text)) // the caller's memory is a whole request's
		}
		l.texts[hash] = t
	}
	return t
}

// SPDX-License-Identifier: Apache-2.0

package cardinalityprocessor

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/limit"
)

// dataPoint is what the four kinds of points have in common.
type dataPoint[P any] interface {
	Attributes() pcommon.Map
	StartTimestamp() pcommon.Timestamp
	SetStartTimestamp(pcommon.Timestamp)
	Timestamp() pcommon.Timestamp
	SetTimestamp(pcommon.Timestamp)
	Flags() pmetric.DataPointFlags
	SetFlags(pmetric.DataPointFlags)
	MoveTo(P)
}

type dataPoints[P any] interface {
	Len() int
	At(int) P
	AppendEmpty() P
	RemoveIf(func(P) bool)
}

// shape is what sets them apart.
type shape[P any] interface {
	// observe hands the point to the limiter.
	observe(*batch, P) *limit.Outcome
	// restart replaces the content of a series that starts anew.
	restart(P, *limit.Outcome)
	// emit replaces the content by that of a merged series.
	emit(P, *limit.Emission)
	// exemplars are the point's, where it has any.
	exemplars(P) (pmetric.ExemplarSlice, bool)
	// elsewhere appends a point of the same metric to the overflow resource.
	elsewhere(pmetric.Metric, pmetric.Metric) P
}

var noValue = pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)

func runPoints[P dataPoint[P], S dataPoints[P], T shape[P]](b *batch, dps S, t T) {
	n := dps.Len()
	b.carriers = b.carriers[:0]
	b.remove = slices.Grow(b.remove[:0], n)[:n]
	removed := 0
	for i := range n {
		if i%ahead == 0 {
			next := b.points[:min(ahead, n-i)]
			for j := range next {
				dp := dps.At(i + j)
				b.fill(&next[j], dp.Attributes(), dp.StartTimestamp(), dp.Timestamp(), dp.Flags())
			}
			b.metric.Ahead(next)
		}
		b.point = &b.points[i%ahead]
		dp := dps.At(i)
		b.remove[i] = false
		out := t.observe(b, dp)
		if out.Verdict == limit.Pass {
			continue
		}
		if out.Mark != limit.MarkNone {
			b.tally.marked++
			b.tally.sent++
			mark(b, dps.AppendEmpty(), dp, out)
		}
		switch out.Verdict {
		case limit.Restarted:
			dp.SetStartTimestamp(pcommon.Timestamp(out.Start))
			t.restart(dp, out)
		case limit.Merged:
			b.tally.merged++
			if out.Carrier {
				out.Group.Slot = i
				b.carriers = append(b.carriers, carrier{i, out.Group, out.Shared})
			}
			if examples, ok := t.exemplars(dp); ok && examples.Len() > 0 {
				b.keepExemplars(out, examples, dp.Attributes(), func() pmetric.ExemplarSlice {
					target, _ := t.exemplars(dps.At(out.Group.Slot))
					return target
				})
			}
			if out.Carrier {
				b.rewrite(dp.Attributes())
				if out.Group.Attributes == nil && out.Group.IsLevel() {
					out.Group.Attributes = pack(dp.Attributes())
				}
			} else {
				b.remove[i] = true
				removed++
			}
		case limit.Dropped:
			b.tally.dropped[out.Reason]++
			b.remove[i] = true
			removed++
		}
	}
	for _, c := range b.carriers {
		dp := dps.At(c.at)
		emit(b, dp, t, c.group)
		if c.shared {
			dp.MoveTo(t.elsewhere(b.overflowMetric(), b.current))
			b.remove[c.at] = true
			removed++
			b.tally.sent++ // it leaves on the other resource
		}
	}
	for _, g := range b.metric.Stirred(b.point) {
		var dp P
		if g.IsShared() {
			dp = t.elsewhere(b.overflowMetric(), b.current)
		} else {
			dp = dps.AppendEmpty()
		}
		unpack(g.Attributes, dp.Attributes())
		emit(b, dp, t, g)
		b.tally.resent++
		b.tally.sent++
	}
	if removed > 0 {
		b.tally.sent -= int64(removed)
		at := -1
		dps.RemoveIf(func(P) bool {
			at++
			return at < n && b.remove[at]
		})
	}
}

// pack and unpack keep attributes with the limiter's state, as the attributes of an empty request's resource.
func pack(attributes pcommon.Map) []byte {
	md := pmetric.NewMetrics()
	attributes.CopyTo(md.ResourceMetrics().AppendEmpty().Resource().Attributes())
	packed, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		return nil
	}
	return packed
}

func unpack(packed []byte, attributes pcommon.Map) {
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(packed)
	if err == nil && md.ResourceMetrics().Len() == 1 {
		md.ResourceMetrics().At(0).Resource().Attributes().CopyTo(attributes)
	}
}

// emit gives a point the content of a merged series.
func emit[P dataPoint[P], T shape[P]](b *batch, dp P, t T, g *limit.Group) {
	b.emission = b.limiter.Emit(b.metric, g)
	e := &b.emission
	dp.SetStartTimestamp(pcommon.Timestamp(e.Start))
	dp.SetTimestamp(pcommon.Timestamp(e.Time))
	dp.SetFlags(dp.Flags().WithNoRecordedValue(e.Gone))
	t.emit(dp, e)
}

// mark writes the end of a series that is folded from now on.
func mark[P dataPoint[P]](b *batch, end, dp P, out *limit.Outcome) {
	dp.Attributes().CopyTo(end.Attributes())
	end.SetStartTimestamp(dp.StartTimestamp())
	end.SetTimestamp(pcommon.Timestamp(out.MarkTime))
	end.SetFlags(noValue)
	if out.Mark != limit.MarkFolded {
		return
	}
	b.metric.FoldedChanges(b.point)
	b.rewrite(end.Attributes())
	if out.Carrier {
		b.metric.Rewrite(b.point, out.Group)
	}
}

// rewrite gives attributes the changes that the limiter worked out for the point at hand.
func (b *batch) rewrite(attributes pcommon.Map) {
	p := b.point
	i := -1
	renamed := false
	attributes.RemoveIf(func(_ string, v pcommon.Value) bool {
		i++
		switch c := &p.Changes[i]; c.Action {
		case limit.ActionDrop:
			return true
		case limit.ActionFold, limit.ActionHash, limit.ActionTemplate:
			v.SetStr(c.Text)
		case limit.ActionRename:
			renamed = true
		}
		return false
	})
	if renamed {
		for i, c := range p.Changes {
			if c.Action != limit.ActionRename {
				continue
			}
			if v, ok := attributes.Get(p.Attrs[i].Key); ok {
				value := pcommon.NewValueEmpty()
				v.CopyTo(value)
				attributes.Remove(p.Attrs[i].Key)
				value.CopyTo(attributes.PutEmpty(c.Text))
			}
		}
	}
	if p.Whole {
		attributes.PutBool(limit.OverflowAttribute, true)
	}
}

// keepExemplars moves a merged point's exemplars to its group's output point, the newest up to the cap. What was folded away
// goes into each exemplar's filtered attributes: the rare value keeps its trace.
func (b *batch) keepExemplars(out *limit.Outcome, from pmetric.ExemplarSlice, attributes pcommon.Map, target func() pmetric.ExemplarSlice) {
	if !out.Carrier {
		b.metric.Rewrite(b.point, out.Group)
	}
	for _, x := range from.All() {
		i := -1
		for k, v := range attributes.All() {
			i++
			if a := b.point.Changes[i].Action; a == limit.ActionNone || a == limit.ActionRename {
				continue
			}
			if _, has := x.FilteredAttributes().Get(k); !has {
				v.CopyTo(x.FilteredAttributes().PutEmpty(k))
			}
		}
	}
	to := target()
	if !out.Carrier {
		from.MoveAndAppendTo(to)
	}
	for to.Len() > b.exemplars {
		oldest := 0
		for i := range to.Len() {
			if to.At(i).Timestamp() < to.At(oldest).Timestamp() {
				oldest = i
			}
		}
		i := -1
		to.RemoveIf(func(pmetric.Exemplar) bool {
			i++
			return i == oldest
		})
	}
}

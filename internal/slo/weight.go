// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"math"
	"strings"
)

// Weight is a number of events in fixed point, 2⁻²⁰ of an event a unit. Floats would make the book depend on the order in which
// events arrive, because their addition is not associative; integers do not.
type Weight uint64

const (
	// One is the weight of an event that was not sampled.
	One Weight = 1 << 20
	// maxWeight is the most one event can stand for (2³⁰ events). Anything above is a broken threshold, not a sampling rate.
	maxWeight = One << 30
	// maxCell is where a slice stops counting, so that the sum of a thousand slices cannot wrap.
	maxCell Weight = 1 << 53
)

// WeightOf rounds an adjusted count to the nearest unit. It reports false for what cannot be a count: NaN, infinite, negative,
// or more than 2³³ events, the most one slice holds.
func WeightOf(events float64) (Weight, bool) {
	if math.IsNaN(events) || events < 0 || events > float64(maxCell/One) {
		return 0, false
	}
	return Weight(math.Round(events * float64(One))), true
}

// Float is the number of events w stands for.
func (w Weight) Float() float64 { return float64(w) / float64(One) }

func (w Weight) plus(o Weight) Weight { return min(w+o, maxCell) }

// AdjustedCount reads the sampling threshold `ot=th:` of a W3C tracestate and returns how many spans the span stands for:
// 2⁵⁶ ÷ (2⁵⁶ − T), with T as OpenTelemetry's consistent probability sampling defines it. Without a valid threshold it is One.
func AdjustedCount(tracestate string) Weight {
	if tracestate == "" {
		return One
	}
	for member := range strings.SplitSeq(tracestate, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for field := range strings.SplitSeq(value, ";") {
			if hex, ok := strings.CutPrefix(field, "th:"); ok {
				return weightOfThreshold(hex)
			}
		}
	}
	return One
}

// weightOfThreshold takes up to 14 hexadecimal digits, trailing zeros left off.
func weightOfThreshold(hex string) Weight {
	const digits = 14
	if hex == "" || len(hex) > digits {
		return One
	}
	var t uint64
	for i := range len(hex) {
		c := hex[i]
		switch {
		case c >= '0' && c <= '9':
			t = t<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			t = t<<4 | uint64(c-'a'+10)
		default:
			return One
		}
	}
	t <<= 4 * (digits - len(hex))
	const all = 1 << 56
	return min(Weight(math.Round(float64(all)/float64(all-t)*float64(One))), maxWeight)
}

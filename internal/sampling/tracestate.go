// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// MaxThreshold is the rejection threshold nothing passes: thresholds and randomness are 56-bit numbers, and a span is kept when its
// randomness is at or above the threshold. See the OpenTelemetry specification, "TraceState: Probability Sampling".
const MaxThreshold = uint64(1) << 56

const randomnessMask = MaxThreshold - 1

// TraceID is a trace ID as on the wire.
type TraceID [16]byte

// Randomness is the 56 least significant bits of the trace ID, the randomness of a trace without an explicit value.
func (id TraceID) Randomness() uint64 {
	return binary.BigEndian.Uint64(id[8:]) & randomnessMask
}

// ThresholdOf converts a probability into a rejection threshold; out of [0, 1] it is taken as the nearest end.
func ThresholdOf(probability float64) uint64 {
	switch {
	case !(probability > 0):
		return MaxThreshold
	case probability >= 1:
		return 0
	}
	return MaxThreshold - uint64(math.Round(probability*float64(MaxThreshold)))
}

// ProbabilityOf converts a rejection threshold into the probability it keeps a trace with.
func ProbabilityOf(threshold uint64) float64 {
	if threshold >= MaxThreshold {
		return 0
	}
	return float64(MaxThreshold-threshold) / float64(MaxThreshold)
}

// TraceState is what the "ot" member of a W3C tracestate says about sampling.
type TraceState struct {
	// Threshold is th; valid when HasThreshold.
	Threshold uint64
	// Random is rv; valid when HasRandom.
	Random       uint64
	HasThreshold bool
	HasRandom    bool
}

// ParseTraceState reads the "ot" member. Malformed parts count as absent.
func ParseTraceState(raw string) (ts TraceState) {
	member, ok := otMember(raw)
	if !ok {
		return ts
	}
	for part := range strings.SplitSeq(member, ";") {
		key, value, found := strings.Cut(part, ":")
		if !found {
			continue
		}
		switch key {
		case "th":
			ts.Threshold, ts.HasThreshold = parseThreshold(value)
		case "rv":
			if len(value) == 14 {
				v, err := strconv.ParseUint(value, 16, 64)
				ts.Random, ts.HasRandom = v, err == nil
			}
		}
	}
	return ts
}

// WriteTraceState replaces th and rv in the "ot" member of raw and leaves everything else as it is. The changed member comes first, as
// the W3C recommendation asks for.
func WriteTraceState(raw string, ts TraceState) string {
	if raw == "" {
		return newTraceState(ts)
	}
	var parts []string
	if ts.HasThreshold {
		parts = append(parts, "th:"+formatThreshold(ts.Threshold))
	}
	if ts.HasRandom {
		parts = append(parts, "rv:"+formatHex56(ts.Random))
	}
	var others []string
	for member := range strings.SplitSeq(raw, ",") {
		trimmed := strings.TrimSpace(member)
		if trimmed == "" {
			continue
		}
		value, isOT := strings.CutPrefix(trimmed, "ot=")
		if !isOT {
			others = append(others, trimmed)
			continue
		}
		for part := range strings.SplitSeq(value, ";") {
			if part != "" && !strings.HasPrefix(part, "th:") && !strings.HasPrefix(part, "rv:") {
				parts = append(parts, part)
			}
		}
	}
	if len(parts) > 0 {
		others = append([]string{"ot=" + strings.Join(parts, ";")}, others...)
	}
	return strings.Join(others, ",")
}

// newTraceState is WriteTraceState where there was none.
func newTraceState(ts TraceState) string {
	var buf [len("ot=th:;rv:") + 2*14]byte
	b := append(buf[:0], "ot="...)
	if ts.HasThreshold {
		b = append(append(b, "th:"...), formatThreshold(ts.Threshold)...)
	}
	if ts.HasRandom {
		if ts.HasThreshold {
			b = append(b, ';')
		}
		b = append(append(b, "rv:"...), formatHex56(ts.Random)...)
	}
	if !ts.HasThreshold && !ts.HasRandom {
		return ""
	}
	return string(b)
}

func otMember(raw string) (string, bool) {
	for len(raw) > 0 {
		var member string
		member, raw, _ = strings.Cut(raw, ",")
		if value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot="); ok {
			return value, true
		}
	}
	return "", false
}

func parseThreshold(value string) (uint64, bool) {
	if value == "" || len(value) > 14 {
		return 0, false
	}
	v, err := strconv.ParseUint(value, 16, 64)
	if err != nil {
		return 0, false
	}
	return v << (4 * (14 - len(value))), true
}

func formatThreshold(th uint64) string {
	if th == 0 {
		return "0"
	}
	return strings.TrimRight(formatHex56(min(th, randomnessMask)), "0")
}

func formatHex56(v uint64) string {
	s := strconv.FormatUint(v&randomnessMask, 16)
	return strings.Repeat("0", 14-len(s)) + s
}

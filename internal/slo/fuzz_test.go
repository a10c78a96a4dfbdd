// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"maps"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

// FuzzAdjustedCount compares the count of a lone threshold with big integers, and wants a sane one of anything else.
func FuzzAdjustedCount(f *testing.F) {
	for _, s := range []string{"", "ot=th:8", "ot=rv:0123;th:c8", "a=b,ot=th:ffffffffffffff", "ot=th:", "ot=th:0;th:8", ",,ot=;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tracestate string) {
		got := AdjustedCount(tracestate)
		if got < One || got > maxWeight {
			t.Fatalf("%q stands for %v spans", tracestate, got.Float())
		}
		hex, ok := strings.CutPrefix(tracestate, "ot=th:")
		if !ok || len(hex) == 0 || len(hex) > 14 || strings.Trim(hex, "0123456789abcdef") != "" {
			return
		}
		all := new(big.Int).Lsh(big.NewInt(1), 56)
		threshold, _ := new(big.Int).SetString(hex+strings.Repeat("0", 14-len(hex)), 16)
		want, _ := new(big.Rat).SetFrac(all, new(big.Int).Sub(all, threshold)).Float64()
		if want = min(want, maxWeight.Float()); math.Abs(got.Float()-want) > want*1e-6 {
			t.Fatalf("%q stands for %v spans, want %v", tracestate, got.Float(), want)
		}
	})
}

// FuzzRestore feeds bodies that pass the checksum: whatever they say, the book must stay usable.
func FuzzRestore(f *testing.F) {
	store := shelf{}
	store.put(burning(f).Snapshot())
	for _, part := range store {
		f.Add(part[len(partMagic)+1 : len(part)-4])
	}
	keys := []string{bookKey, objectivePart(testObjective("o").Digest()), groupPart(testObjective("o").Digest(), "")}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, key := range keys {
			broken := shelf{}
			maps.Copy(broken, store)
			broken[key] = seal(body)
			e := testEngine(t, Demo())
			if _, err := e.Restore(broken.get); err != nil {
				t.Fatal(err)
			}
			feed(e, 1, event{at: epoch.Add(time.Hour), bad: true})
			for _, s := range e.Statuses() {
				if s.Compliance != nil && !(*s.Compliance >= 0 && *s.Compliance <= 1) {
					t.Fatalf("compliance %v", *s.Compliance)
				}
			}
		}
	})
}

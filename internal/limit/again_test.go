// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Knowing a point again must decide what a look at every attribute decides: outcome by outcome, seat by seat, estimate by estimate.
func TestPointsKnownAgainAreDecidedAsIfLookedAtInFull(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		chosen := settings(func(s *Settings) {
			s.Limits.Attribute, s.Limits.Series = 5+r.IntN(20), 20+r.IntN(150)
			s.Limits.OverflowSeries, s.Limits.Keys, s.Limits.Metrics = 10, 8, 10
			s.Protect = []string{"status"}
			s.MaxStale = time.Minute
		})
		kind := Kind(r.IntN(4))
		quick, full := New(chosen), New(chosen)
		full.thorough = true
		now, again := int64(1000)*second, 0
		for range 400 {
			now += r.Int64N(second)
			quick.Begin(now)
			full.Begin(now)
			a, b := metric(t, quick, "m"), metric(t, full, "m")
			exploding := r.IntN(3)
			for range 1 + r.IntN(30) {
				labels := []string{"route", strconv.Itoa(r.IntN(8)), "user", strconv.Itoa(r.IntN(4)), "status", strconv.Itoa(r.IntN(3)), "pod", strconv.Itoa(r.IntN(6))}
				if exploding > 0 {
					labels[3] = strconv.Itoa(r.IntN(200))
				}
				if exploding > 1 {
					labels[7] = strconv.Itoa(r.IntN(3000))
				}
				if r.IntN(20) == 0 {
					labels[1] = OverflowValue
				}
				if r.IntN(30) == 0 {
					labels = append(labels, OverflowAttribute, "true")
				}
				v := Int(r.Int64N(1000))
				one, two := *a.Number(point(second, now, labels...), kind, v, true, false), *b.Number(point(second, now, labels...), kind, v, true, false)
				require.Equal(t, two.Verdict, one.Verdict)
				require.Equal(t, two.Reason, one.Reason)
				require.Equal(t, two.Mark, one.Mark)
				require.Equal(t, two.MarkTime, one.MarkTime)
				if one.Verdict == Merged {
					require.Equal(t, two.Group.key, one.Group.key)
					require.Equal(t, two.Carrier, one.Carrier)
					require.Equal(t, full.Emit(b, two.Group), quick.Emit(a, one.Group))
					if len(a.hot) > 0 {
						again++
					}
				}
			}
			quick.Flush()
			full.Flush()
			quick.Delivered()
			full.Delivered()
			require.Equal(t, full.Offenders(10), quick.Offenders(10))
			one, two := quick.Stats(), full.Stats()
			one.Bytes, two.Bytes = 0, 0
			require.Equal(t, two, one)
		}
		require.Positive(t, again)
	}
}

func TestStreamTableFindsWhatAMapFinds(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		var a arena
		var table streamTable
		want := map[uint64]bool{}
		bytes := int64(0)
		for range 20 {
			for range r.IntN(3000) {
				id := r.Uint64N(5000) // small numbers: the product has to spread them
				require.Equal(t, want[id], table.find(&a, id) != nil)
				if !want[id] {
					ref := a.take()
					a.at(ref).id = id
					bytes += table.insert(id, ref)
					want[id] = true
				}
			}
			keep := r.Uint64N(7)
			bytes += table.prune(&a, func(s *stream) bool {
				if s.id%7 <= keep {
					return false
				}
				delete(want, s.id)
				return true
			})
			require.Equal(t, len(want), table.len())
			require.Equal(t, int64(len(table.slots))*streamSlotBytes, bytes)
			walked := 0
			table.each(&a, func(s *stream) {
				require.True(t, want[s.id])
				walked++
			})
			require.Equal(t, len(want), walked)
			require.Len(t, a.free, int(a.next)-len(want))
		}
	}
}

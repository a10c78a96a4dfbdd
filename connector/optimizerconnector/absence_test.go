// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// A clock that is ahead harms nothing, since time is that of the telemetry. To one that is behind the telemetry is of the future: what its
// collector saw of it is left out and counted, and the verdict rests on what the others saw.
func TestAReplicaWithAWrongClockChangesNoVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		off  time.Duration
		lost int64
	}{
		"ahead":  {10 * time.Minute, 0},
		"behind": {-10 * time.Minute, 60 * 60},
	} {
		t.Run(name, func(t *testing.T) {
			clock, wrong := &fakeClock{now: t0}, &fakeClock{now: t0.Add(tc.off)}
			short := func(c *Config) { c.Canary.WarmUp = 10 * time.Second }
			decider := newMember(t, clock, nil, short)
			replicas := []*member{
				newMember(t, clock, nil, func(c *Config) { short(c); c.Decider = false }),
				newMember(t, wrong, nil, func(c *Config) { short(c); c.Decider = false }),
			}
			r := rand.New(rand.NewPCG(3, 3))
			for range 60 {
				for i, td := range requests(r, clock.read()) {
					require.NoError(t, replicas[i%2].ConsumeTraces(t.Context(), td))
				}
				for range 10 {
					clock.advance(time.Second)
					wrong.advance(time.Second)
					for _, one := range replicas {
						one.engine.tick(t.Context())
						for _, ld := range one.take() {
							require.NoError(t, decider.ConsumeLogs(t.Context(), ld))
						}
					}
					decider.engine.tick(t.Context())
				}
			}
			got := decider.verdict(t)
			require.NotNil(t, got)
			assert.Equal(t, signal.ResultFail, got.Result.Value)
			assert.Equal(t, tc.lost, losses(t, replicas[1])["future"])
			assert.Empty(t, losses(t, replicas[0]))
			for _, one := range append(replicas, decider) {
				require.NoError(t, one.Shutdown(t.Context()))
			}
		})
	}
}

// While the decider is down, replicas keep what they count. When it is back they need some seconds to see it.
func TestAbsenceOfTheDeciderIsNoSilence(t *testing.T) {
	clock, storage := &fakeClock{now: t0}, &fakeStorage{values: map[string][]byte{}}
	short := func(c *Config) { c.Canary.WarmUp = 10 * time.Second }
	alone, decider := newMember(t, clock, nil, short), newMember(t, clock, storage, short)
	replica := newMember(t, clock, nil, func(c *Config) { short(c); c.Decider = false })
	r := rand.New(rand.NewPCG(3, 3))
	minutes := func(n int) {
		for range 6 * n {
			for _, td := range requests(r, clock.read()) {
				require.NoError(t, replica.ConsumeTraces(t.Context(), td))
				require.NoError(t, alone.ConsumeTraces(t.Context(), td))
			}
			clock.advance(10 * time.Second)
		}
	}
	deliver := func() {
		for _, ld := range replica.take() {
			require.NoError(t, decider.ConsumeLogs(t.Context(), ld))
		}
	}
	minutes(1)
	deliver()
	require.NoError(t, decider.Shutdown(t.Context()))
	minutes(9)
	decider = newMember(t, clock, storage, short)
	for range 5 {
		clock.advance(time.Second)
		decider.engine.tick(t.Context())
	}
	deliver()
	decider.engine.tick(t.Context())
	assert.Empty(t, losses(t, decider))
	got := decider.verdict(t)
	require.NotNil(t, got)
	assert.Equal(t, alone.verdict(t).Result, got.Result)
	for _, e := range decider.board.published {
		assert.NotEqual(t, signal.KindBlind, e.Kind)
	}
	for _, one := range []*member{alone, replica, decider} {
		require.NoError(t, one.Shutdown(t.Context()))
	}
}

// losses are what a member left out of comparisons, by reason.
func losses(t *testing.T, m *member) map[string]int64 {
	t.Helper()
	got, err := m.telemetry.GetMetric("otelcol_optimizer_comparison_losses")
	if err != nil {
		return nil
	}
	out := map[string]int64{}
	for _, p := range got.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := p.Attributes.Value(attribute.Key("loss_reason"))
		out[v.AsString()] = p.Value
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestShapeOfADayHasMeanOneAQuietNightAndStaysInBounds(t *testing.T) {
	const steps = 24 * 60
	sum, low, high := 0.0, math.Inf(1), math.Inf(-1)
	for i := range steps {
		v := Shape(float64(i) / steps)
		sum += v
		low, high = min(low, v), max(high, v)
	}
	assert.InDelta(t, 1, sum/steps, 1e-9)
	assert.InDelta(t, 0.3, low, 1e-3)
	assert.InDelta(t, Shape(4.0/24), low, 1e-9, "four in the morning is the quietest")
	assert.Greater(t, high, 1.4)
	assert.LessOrEqual(t, high, peak, "thinning needs an upper bound")
	assert.InDelta(t, Shape(0.3), Shape(5.3), 1e-9, "every day is alike")
}

func TestSameSeedSameVisitors(t *testing.T) {
	draw := func(seed uint64) []Arrival {
		a := NewArrivals(50, time.Minute, 9, seed)
		out := make([]Arrival, 500)
		for i := range out {
			out[i] = a.Next()
		}
		return out
	}
	visitors, again, others := draw(7), draw(7), draw(8)
	assert.Equal(t, visitors, again)
	assert.NotEqual(t, visitors, others)
	assert.True(t, slices.IsSortedFunc(visitors, func(a, b Arrival) int { return int(a.At - b.At) }))
}

// Counts visitors by hour over many short days and holds them against the shape, and the gaps against an exponential distribution.
func TestArrivalsFollowTheDayAndAreRandom(t *testing.T) {
	const rate, days = 50.0, 200
	day := 10 * time.Minute
	a := NewArrivals(rate, day, 0, 3)
	byHour := make([]float64, 24)
	journeys := map[Journey]float64{}
	total, asked := 0.0, 0.0
	for arrival := a.Next(); arrival.At < days*day; arrival = a.Next() {
		timeOfDay := math.Mod(arrival.At.Seconds()/day.Seconds(), 1)
		byHour[int(timeOfDay*24)]++
		journeys[arrival.Journey]++
		total++
		asked += float64(len(Steps(arrival.Journey, "u", rand.New(rand.NewPCG(1, 1)))))
	}
	assert.InDelta(t, rate, asked/(days*day.Seconds()), rate*0.01, "requests per second over whole days")
	for hour, n := range byHour {
		want := total / 24 * Shape((float64(hour)+0.5)/24)
		assert.InDelta(t, want, n, 5*math.Sqrt(want)+want*0.01, "hour %d", hour)
	}
	assert.InDelta(t, 0.7, journeys[Browse]/total, 0.01)
	assert.InDelta(t, 0.2, journeys[AddToCart]/total, 0.01)
	assert.InDelta(t, 0.1, journeys[Checkout]/total, 0.01)
}

func TestGapsAreExponential(t *testing.T) {
	a := NewArrivals(50, 1000*time.Hour, 9, 5) // so long a day that the rate stands still
	const n = 20_000
	var gaps []float64
	last := time.Duration(0)
	for range n {
		at := a.Next().At
		gaps = append(gaps, (at - last).Seconds())
		last = at
	}
	mean := 0.0
	for _, g := range gaps {
		mean += g / n
	}
	variance := 0.0
	for _, g := range gaps {
		variance += (g - mean) * (g - mean) / n
	}
	assert.InDelta(t, 1, math.Sqrt(variance)/mean, 0.03, "an exponential's deviation is its mean")
}

func TestEveryJourneyIsCountedWithItsRequests(t *testing.T) {
	total := 0.0
	for _, s := range share {
		total += s.of
		steps := Steps(s.journey, "u", rand.New(rand.NewPCG(1, 2)))
		assert.Len(t, steps, int(requests[s.journey]))
		for _, step := range steps {
			assert.True(t, strings.HasPrefix(step.Path, "/"))
			assert.Equal(t, step.Method == http.MethodPost && strings.HasPrefix(step.Path, "/cart"), step.Body != "")
		}
	}
	assert.InDelta(t, 1, total, 1e-9)
}

func config(url string) Config {
	return Config{Target: url, Rate: 500, Day: time.Hour, StartHour: 9, Seed: 1}
}

func TestGeneratorSendsItsVisitorsAndStops(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	sessions := map[string]bool{}
	reached := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		path, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		seen[r.Method+" /"+path]++
		sessions[r.Header.Get("Session-Id")] = true
		if len(seen) == 5 && reached != nil {
			close(reached)
			reached = nil
		}
	}))
	defer server.Close()
	wait := reached
	ctx, cancel := context.WithCancel(t.Context())
	g := New(config(server.URL))
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	<-wait
	cancel()
	<-done
	mu.Lock()
	defer mu.Unlock()
	total := 0
	for _, n := range seen {
		total += n
	}
	assert.EqualValues(t, total, g.Counts().Requests)
	assert.Zero(t, g.Counts().Failed)
	assert.Greater(t, len(sessions), 5)
}

func TestAFailedPageIsCountedAndEndsTheJourney(t *testing.T) {
	for name, c := range map[string]struct {
		status         int
		failed, onward bool
	}{
		"fine": {http.StatusOK, false, true}, "refused": {http.StatusConflict, false, false}, "failed": {http.StatusBadGateway, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, "{}")
			}))
			defer server.Close()
			g := New(config(server.URL))
			defer g.transport.CloseIdleConnections()
			assert.Equal(t, c.onward, g.ask(Step{http.MethodGet, "/", ""}, "u"))
			assert.Equal(t, c.failed, g.Counts().Failed == 1)
			assert.EqualValues(t, 1, g.Counts().Requests)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		g := New(config("http://127.0.0.1:1"))
		assert.False(t, g.ask(Step{http.MethodGet, "/", ""}, "u"))
		assert.EqualValues(t, 1, g.Counts().Failed)
	})
}

// hang never answers. A server notices that its client went away only once the body has been read.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestAbortCutsOffWhatHangs(t *testing.T) {
	arrived := make(chan struct{}, maxVisitors)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		hang(r)
	}))
	defer server.Close()
	g := New(config(server.URL))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	<-arrived
	cancel()
	select {
	case <-done:
		t.Fatal("a visitor inside is waited for")
	default:
	}
	g.Abort()
	<-done
	assert.Positive(t, g.Counts().Failed)
}

func TestAFullShopTurnsVisitorsAway(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hang(r) }))
	defer server.Close()
	busy := config(server.URL)
	busy.Rate = 100_000 // above what a user may ask for, to fill the shop at once
	g := New(busy)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	require.Eventually(t, func() bool { return g.Counts().TurnedAway > 10 }, 20*time.Second, time.Millisecond)
	cancel()
	g.Abort()
	<-done
	assert.LessOrEqual(t, g.Counts().Requests, int64(maxVisitors))
}

func TestConfigNamesKeyAndValue(t *testing.T) {
	require.NoError(t, config("").Validate())
	for want, change := range map[string]func(*Config){
		"rate must be above 0 and at most 2000 (got 0)":   func(c *Config) { c.Rate = 0 },
		"rate must be above 0 and at most 2000 (got NaN)": func(c *Config) { c.Rate = math.NaN() },
		"rate must be above 0 and at most 2000 (got 1e+09)": func(c *Config) {
			c.Rate = 1e9
		},
		"day must be at least 1s (got 1ms)":                func(c *Config) { c.Day = time.Millisecond },
		"start-hour must be from 0 to below 24 (got 24)":   func(c *Config) { c.StartHour = 24 },
		"start-hour must be from 0 to below 24 (got -0.5)": func(c *Config) { c.StartHour = -0.5 },
	} {
		c := config("")
		change(&c)
		assert.EqualError(t, c.Validate(), want)
	}
}

func BenchmarkNext(b *testing.B) {
	a := NewArrivals(50, time.Hour, 9, 1)
	b.ReportAllocs()
	for b.Loop() {
		a.Next()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "visitors/s")
}

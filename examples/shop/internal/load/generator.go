// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxVisitors bounds the visitors in the shop at a time; who comes when it is full is turned away and counted.
	maxVisitors = 1024
	// requestTimeout is how long a visitor waits for a page.
	requestTimeout = 10 * time.Second
	// think bounds how long a visitor looks at a page before the next click.
	think = 200 * time.Millisecond
	// products is how many products visitors know of.
	products = 40
)

// Config says how many visitors come and when.
type Config struct {
	// Target is the base URL of the front end.
	Target string
	// Rate is the day's mean of requests per second.
	Rate float64
	// Day is how long a day takes.
	Day time.Duration
	// StartHour is the time of day at the start, in hours from 0 to 24.
	StartHour float64
	// Seed makes the visitors; the same seed, the same visitors.
	Seed uint64
}

// Validate names the key and the value that are wrong.
func (c Config) Validate() error {
	switch {
	case !(c.Rate > 0 && c.Rate <= 2000):
		return fmt.Errorf("rate must be above 0 and at most 2000 (got %v)", c.Rate)
	case c.Day < time.Second:
		return fmt.Errorf("day must be at least 1s (got %s)", c.Day)
	case !(c.StartHour >= 0 && c.StartHour < 24):
		return fmt.Errorf("start-hour must be from 0 to below 24 (got %v)", c.StartHour)
	}
	return nil
}

// Counts are what has happened since the start.
type Counts struct {
	// Requests were sent; Failed of them got an answer of 500 or above, or none.
	Requests, Failed int64
	// TurnedAway are visitors that found the shop full.
	TurnedAway int64
}

// Generator sends visitors to the front end, at their time, whether or not the earlier ones are done (open loop).
type Generator struct {
	config    Config
	transport *http.Transport
	client    *http.Client
	// asking is the context of every request; it outlives Run's, so that the end of a run cuts off nobody.
	asking context.Context
	abort  context.CancelFunc

	requests, failed, turnedAway atomic.Int64
}

// New returns a generator.
func New(config Config) *Generator {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}
	asking, abort := context.WithCancel(context.Background())
	return &Generator{
		config: config, transport: transport, client: &http.Client{Transport: transport, Timeout: requestTimeout}, asking: asking, abort: abort,
	}
}

// Abort cuts off the requests in flight, for a stop that cannot wait.
func (g *Generator) Abort() { g.abort() }

// Counts returns what has happened so far.
func (g *Generator) Counts() Counts {
	return Counts{Requests: g.requests.Load(), Failed: g.failed.Load(), TurnedAway: g.turnedAway.Load()}
}

// Run sends visitors until ctx ends. Those in the shop finish the page they asked for and leave; Abort hurries them.
func (g *Generator) Run(ctx context.Context) {
	var inside sync.WaitGroup
	places := make(chan struct{}, maxVisitors)
	arrivals := NewArrivals(g.config.Rate, g.config.Day, g.config.StartHour, g.config.Seed)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		arrival := arrivals.Next()
		timer.Reset(time.Until(start.Add(arrival.At)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			inside.Wait()
			g.abort()
			g.transport.CloseIdleConnections()
			return
		}
		select {
		case places <- struct{}{}:
			inside.Go(func() {
				defer func() { <-places }()
				g.visit(ctx, arrival)
			})
		default:
			g.turnedAway.Add(1)
		}
	}
}

// visit makes one visitor's journey; a page that fails ends it.
func (g *Generator) visit(ctx context.Context, a Arrival) {
	random := rand.New(rand.NewPCG(a.Seed, a.Seed))
	user := fmt.Sprintf("user-%d-%d", g.config.Seed, a.Visitor)
	for i, step := range Steps(a.Journey, user, random) {
		if i > 0 && !sleep(ctx, time.Duration(random.Float64()*float64(think))) {
			return
		}
		if !g.ask(step, user) {
			return
		}
	}
}

// Step is one request of a journey.
type Step struct {
	Method, Path, Body string
}

// Steps returns the requests of a journey.
func Steps(journey Journey, user string, random *rand.Rand) []Step {
	product := 1 + random.IntN(products)
	look := Step{http.MethodGet, fmt.Sprintf("/products/%d", product), ""}
	add := Step{http.MethodPost, "/cart/" + user, fmt.Sprintf(`{"product_id":%d,"quantity":%d}`, product, 1+random.IntN(3))}
	switch journey {
	case AddToCart:
		return []Step{look, add}
	case Checkout:
		return []Step{add, {http.MethodGet, "/cart/" + user, ""}, {http.MethodPost, "/checkout/" + user, ""}}
	default:
		return []Step{{http.MethodGet, "/", ""}, look}
	}
}

// ask sends one request and tells whether the journey can go on. A request that was sent is waited for: nobody hangs up at the end.
func (g *Generator) ask(step Step, user string) bool {
	request, err := http.NewRequestWithContext(g.asking, step.Method, g.config.Target+step.Path, strings.NewReader(step.Body))
	if err != nil {
		return false
	}
	request.Header.Set("Session-Id", user)
	g.requests.Add(1)
	response, err := g.client.Do(request)
	if err != nil {
		g.failed.Add(1)
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if err != nil || response.StatusCode >= http.StatusInternalServerError {
		g.failed.Add(1)
		return false
	}
	return response.StatusCode < http.StatusBadRequest
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

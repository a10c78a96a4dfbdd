// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/store"
)

// Line is one line of a cart.
type Line struct {
	ProductID int64 `json:"product_id"`
	Quantity  int64 `json:"quantity"`
}

// maxLines bounds one cart.
const maxLines = 100

var (
	addLine = store.Query{Operation: "INSERT", Collection: "cart_lines", Text: `INSERT INTO cart_lines (user_id, product_id, quantity) VALUES (?, ?, ?)
ON CONFLICT (user_id, product_id) DO UPDATE SET quantity = quantity + excluded.quantity`}
	readLines = store.Query{Operation: "SELECT", Collection: "cart_lines", Text: `SELECT product_id, quantity FROM cart_lines WHERE user_id = ? ORDER BY product_id LIMIT ?`}
	dropLines = store.Query{Operation: "DELETE", Collection: "cart_lines", Text: `DELETE FROM cart_lines WHERE user_id = ?`}
)

// cart remembers what users want.
type cart struct {
	Env
	db    *store.DB
	gate  gate
	cache hoard
}

func startCart(env Env, run *Running, listeners ...net.Listener) error {
	c := &cart{Env: env}
	c.gate.now = env.Now
	db, err := store.Open(filepath.Join(env.DataDir, "cart.db"), "cart", env.Tel, env.slowdown)
	if err != nil {
		return err
	}
	run.onStop(func(context.Context) error { return db.Close() })
	c.db = db
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS cart_lines (
user_id TEXT NOT NULL, product_id INTEGER NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (user_id, product_id)) WITHOUT ROWID`); err != nil {
		return err
	}
	_, err = env.Tel.Meter().Int64ObservableUpDownCounter("shop.cache.size", metric.WithUnit("By"), metric.WithDescription("Memory held by the cache."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if _, on := env.Faults.Lookup(fault.MemoryLeak); !on {
				c.cache.release()
			}
			o.Observe(c.cache.size())
			return nil
		}))
	if err != nil {
		return err
	}
	if err := env.observeRequests(usualCPU, usualMemory); err != nil {
		return err
	}
	env.serveHTTP(run, listeners[0], map[string]endpoint{
		"GET /v1/carts/{user}":        c.guard(c.show),
		"POST /v1/carts/{user}/items": c.guard(c.add),
		"DELETE /v1/carts/{user}":     c.guard(c.empty),
	})
	return nil
}

// guard refuses what exceeds the capacity during a retry storm, and leaks during a memory leak.
func (c *cart) guard(answer endpoint) endpoint {
	return func(r *http.Request) (any, error) {
		if params, on := c.Faults.Lookup(fault.RetryStorm); on && !c.gate.admit(params.Number("capacity")) {
			return nil, &failure{status: http.StatusServiceUnavailable, kind: "overloaded", message: "cart is at its capacity"}
		}
		if params, on := c.Faults.Lookup(fault.MemoryLeak); on {
			c.cache.keep(int(params.Number("kb_per_request"))<<10, int64(params.Number("max_mb"))<<20)
		}
		return answer(r)
	}
}

func (c *cart) show(r *http.Request) (any, error) {
	lines := []Line{}
	err := c.db.Each(r.Context(), readLines, func(row func(...any) error) error {
		var line Line
		if err := row(&line.ProductID, &line.Quantity); err != nil {
			return err
		}
		lines = append(lines, line)
		return nil
	}, r.PathValue("user"), maxLines)
	return lines, err
}

func (c *cart) add(r *http.Request) (any, error) {
	var line Line
	if err := readJSON(r, &line); err != nil {
		return nil, err
	}
	if line.Quantity < 1 || line.Quantity > 100 {
		return nil, &failure{status: http.StatusBadRequest, kind: "400", message: "quantity must be from 1 to 100"}
	}
	_, err := c.db.Do(r.Context(), addLine, r.PathValue("user"), line.ProductID, line.Quantity)
	return struct{}{}, err
}

func (c *cart) empty(r *http.Request) (any, error) {
	_, err := c.db.Do(r.Context(), dropLines, r.PathValue("user"))
	return struct{}{}, err
}

// slowdown is how long a statement of this service has to wait now.
func (e Env) slowdown() time.Duration {
	params, on := e.Faults.Lookup(fault.SlowDependency)
	if !on || params.Text("service") != e.Tel.Identity.Service {
		return 0
	}
	return params.Duration("delay")
}

// refusalCost is what refusing a request costs, as a share of serving one: why retries make an overload worse.
const refusalCost = 0.25

// gate admits requests up to a rate. Refusing costs capacity too, so the more is asked for above it, the less is served.
type gate struct {
	now func() time.Time

	mu     sync.Mutex
	tokens float64 // may be negative: a debt of refusals
	last   time.Time
}

// admit takes the capacity in requests per second; a burst may be one second's worth.
func (g *gate) admit(capacity float64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.last.IsZero() {
		g.tokens = capacity
	} else {
		g.tokens = min(g.tokens+now.Sub(g.last).Seconds()*capacity, max(capacity, 1))
	}
	g.last = now
	if g.tokens >= 1 {
		g.tokens--
		return true
	}
	g.tokens = max(g.tokens-refusalCost, -capacity)
	return false
}

// hoard is memory that is kept and never used.
type hoard struct {
	mu     sync.Mutex
	chunks [][]byte
	held   int64
}

// keep holds on to n more bytes unless that exceeds the limit.
func (h *hoard) keep(n int, limit int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held+int64(n) > limit {
		return
	}
	chunk := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		chunk[i] = 1 // a page that nobody wrote to is not resident
	}
	h.chunks = append(h.chunks, chunk)
	h.held += int64(n)
}

func (h *hoard) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chunks, h.held = nil, 0
}

func (h *hoard) size() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

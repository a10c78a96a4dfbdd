// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/shoppb"
)

// SessionHeader carries the identifier of the visitor's session.
const SessionHeader = "Session-Id"

// CanaryFlag is the feature flag that decides which instance of checkout a user gets.
const CanaryFlag = "checkout-canary"

// frontend is the edge: it knows no goods and no carts, only whom to ask.
type frontend struct {
	Env
	http     client
	checkout shoppb.CheckoutClient
	canary   shoppb.CheckoutClient
	views    metric.Int64Counter
	labelled sessions
}

func startFrontend(env Env, run *Running, listeners ...net.Listener) error {
	f := &frontend{Env: env}
	var err error
	f.views, err = env.Tel.Meter().Int64Counter("shop.page.views", metric.WithUnit("{page}"), metric.WithDescription("Pages shown."))
	if err != nil {
		return err
	}
	if err := env.observeRequests(usualCPU, usualMemory); err != nil {
		return err
	}
	f.http = env.newClient(run)
	stable, err := env.dial(run, env.Peers.Checkout)
	if err != nil {
		return err
	}
	f.checkout = shoppb.NewCheckoutClient(stable)
	canary, err := env.dial(run, env.Peers.CheckoutCanary)
	if err != nil {
		return err
	}
	f.canary = shoppb.NewCheckoutClient(canary)
	env.serveHTTP(run, listeners[0], map[string]endpoint{
		"GET /{$}":              f.home,
		"GET /products/{id}":    f.product,
		"GET /cart/{user}":      f.showCart,
		"POST /cart/{user}":     f.addToCart,
		"POST /checkout/{user}": f.placeOrder,
	})
	return nil
}

func (f *frontend) home(r *http.Request) (any, error) {
	f.countView(r, "home")
	var products []Product
	err := f.http.call(r.Context(), http.MethodGet, "http://"+f.Peers.InventoryHTTP+"/v1/products", nil, &products)
	return products, err
}

func (f *frontend) product(r *http.Request) (any, error) {
	f.countView(r, "product")
	var product Product
	err := f.http.call(r.Context(), http.MethodGet, "http://"+f.Peers.InventoryHTTP+"/v1/products/"+url.PathEscape(r.PathValue("id")), nil, &product)
	return product, err
}

func (f *frontend) showCart(r *http.Request) (any, error) {
	f.countView(r, "cart")
	var lines []Line
	err := f.callCart(r.Context(), http.MethodGet, cartURL(f.Peers.Cart, r.PathValue("user")), nil, &lines)
	return lines, err
}

func (f *frontend) addToCart(r *http.Request) (any, error) {
	var line Line
	if err := readJSON(r, &line); err != nil {
		return nil, err
	}
	return struct{}{}, f.callCart(r.Context(), http.MethodPost, cartURL(f.Peers.Cart, r.PathValue("user"))+"/items", line, nil)
}

func (f *frontend) placeOrder(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	user := r.PathValue("user")
	order, err := f.checkoutFor(ctx, user).PlaceOrder(ctx, &shoppb.PlaceOrderRequest{UserId: user})
	if err != nil {
		return nil, err
	}
	return map[string]any{"order_id": order.GetOrderId(), "total_cents": order.GetTotalCents()}, nil
}

// checkoutFor picks the instance of checkout a user gets and, while there are two, records the decision as an event.
func (f *frontend) checkoutFor(ctx context.Context, user string) shoppb.CheckoutClient {
	params, on := f.Faults.Lookup(fault.Canary)
	if !on {
		return f.checkout
	}
	chosen, variant := f.checkout, "control"
	if inShare(user, params.Number("weight")) {
		chosen, variant = f.canary, "canary"
	}
	f.Tel.Emit(ctx, f.Now(), "feature_flag.evaluation",
		semconv.FeatureFlagKey(CanaryFlag),
		semconv.FeatureFlagResultVariant(variant),
		semconv.FeatureFlagResultReasonSplit,
		semconv.FeatureFlagProviderName("shop"),
		semconv.FeatureFlagContextID(user))
	return chosen
}

// inShare tells whether a user is among the given percentage; the same user always gets the same answer.
func inShare(user string, percent float64) bool {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(user)) // a hash takes everything
	return float64(hash.Sum64()%100_000) < percent*1000
}

// callCart calls cart, and again at once when it fails, as often as the retry storm says.
func (f *frontend) callCart(ctx context.Context, method, url string, in, out any) error {
	attempts := 1
	if params, on := f.Faults.Lookup(fault.RetryStorm); on {
		attempts = int(params.Number("attempts"))
	}
	var err error
	for attempt := range attempts {
		err = f.http.call(withResend(ctx, attempt), method, url, in, out)
		if err == nil || asFailure(err).status < http.StatusInternalServerError {
			return err
		}
	}
	return err
}

func (f *frontend) countView(r *http.Request, page string) {
	attrs := []attribute.KeyValue{attribute.String("shop.page", page)}
	session := r.Header.Get(SessionHeader)
	if params, on := f.Faults.Lookup(fault.UnboundedLabel); !on {
		f.labelled.clear()
	} else if session != "" && f.labelled.admit(session, int(params.Number("max_values"))) {
		attrs = append(attrs, semconv.SessionID(session))
	}
	f.views.Add(r.Context(), 1, metric.WithAttributes(attrs...))
}

// sessions are those whose identifier is on the metric since the fault went on.
type sessions struct {
	mu    sync.Mutex
	known map[string]bool
}

// admit tells whether a session may be on the metric, of which there are never more than limit.
func (s *sessions) admit(session string, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]bool{}
	}
	if len(s.known) < limit {
		s.known[session] = true
	}
	return s.known[session]
}

func (s *sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
}

func readJSON(r *http.Request, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return &failure{status: http.StatusBadRequest, kind: "400", message: "the body is not the JSON wanted here", cause: err}
	}
	return nil
}

func cartURL(cart, user string) string { return "http://" + cart + "/v1/carts/" + url.PathEscape(user) }

// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/otlptest"
	"github.com/pitwall-io/pitwall/examples/shop/internal/shoppb"
	"github.com/pitwall-io/pitwall/examples/shop/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGateServesItsCapacity(t *testing.T) {
	now := time.Unix(0, 0)
	g := &gate{now: func() time.Time { return now }}
	// Asked for just what it can do, it serves everything.
	for range 1000 {
		require.True(t, g.admit(10))
		now = now.Add(100 * time.Millisecond)
	}
}

func TestGateServesLessTheMoreIsAskedFor(t *testing.T) {
	served := func(perSecond int) int {
		now := time.Unix(0, 0)
		g := &gate{now: func() time.Time { return now }}
		n := 0
		for range 100 * perSecond {
			if g.admit(10) {
				n++
			}
			now = now.Add(time.Second / time.Duration(perSecond))
		}
		return n
	}
	assert.InDelta(t, 1000, served(10), 10)
	assert.Less(t, served(20), served(10))
	assert.Less(t, served(40), served(20))
	assert.Less(t, served(1000), served(40))
}

func TestGateRecoversFromAnyOverload(t *testing.T) {
	now := time.Unix(0, 0)
	g := &gate{now: func() time.Time { return now }}
	for range 1_000_000 {
		g.admit(10)
	}
	now = now.Add(1200 * time.Millisecond)
	assert.True(t, g.admit(10), "the debt is bounded by a second's worth")
}

func TestHoardNeverExceedsItsLimit(t *testing.T) {
	h := &hoard{}
	for range 100 {
		h.keep(3000, 10_000)
		require.LessOrEqual(t, h.size(), int64(10_000))
	}
	assert.EqualValues(t, 9000, h.size())
	h.release()
	assert.Zero(t, h.size())
}

func TestAFixedShareOfTheUsersGetsTheCanary(t *testing.T) {
	for _, percent := range []float64{0.1, 5, 50} {
		chosen := 0
		const users = 200_000
		for i := range users {
			user := "user-1-" + strconv.Itoa(i)
			if inShare(user, percent) {
				chosen++
				require.True(t, inShare(user, percent), "the same user gets the same answer")
			}
		}
		assert.InEpsilon(t, percent/100*users, chosen, 0.15, "%v %%", percent)
	}
}

func TestEveryErrorHasAStatusAndAName(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		kind   string
		code   codes.Code
	}{
		{&failure{status: 500, kind: "x"}, 500, "x", codes.Internal},
		{fmt.Errorf("around: %w", &failure{status: 503, kind: "overloaded"}), 503, "overloaded", codes.Unavailable},
		{&failure{status: 404, kind: "404"}, 404, "404", codes.NotFound},
		{&failure{status: 409, kind: "empty_cart"}, 409, "empty_cart", codes.FailedPrecondition},
		{status.Error(codes.Unavailable, "gone"), 502, "UNAVAILABLE", codes.Unavailable},
		{fmt.Errorf("around: %w", status.Error(codes.Internal, "oops")), 502, "INTERNAL", codes.Unavailable},
		{status.Error(codes.NotFound, "no"), 404, "NOT_FOUND", codes.NotFound},
		{status.Error(codes.FailedPrecondition, "no"), 409, "FAILED_PRECONDITION", codes.FailedPrecondition},
		{status.Error(codes.DataLoss, "no"), 502, "UNKNOWN", codes.Unavailable},
		{fmt.Errorf("around: %w", errors.New("plain")), 500, "*errors.errorString", codes.Internal},
	} {
		f := asFailure(c.err)
		assert.Equal(t, c.status, f.status, c.err)
		assert.Equal(t, c.kind, f.kind, c.err)
		assert.Equal(t, c.code, codeOf(f), c.err)
	}
	cause := errors.New("cause")
	assert.ErrorIs(t, &failure{message: "m", cause: cause}, cause)
	assert.EqualError(t, &failure{message: "m", cause: cause}, "m: cause")
}

func TestSessionsOnTheMetricAreBounded(t *testing.T) {
	s := &sessions{}
	for i := range 10 {
		session := strconv.Itoa(i)
		assert.Equal(t, i < 3, s.admit(session, 3))
		assert.True(t, s.admit("0", 3), "one that is known stays")
	}
	s.clear()
	assert.True(t, s.admit("9", 3))
}

func TestPauseEndsWithItsContext(t *testing.T) {
	require.NoError(t, pause(t.Context(), 0))
	require.NoError(t, pause(t.Context(), time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, pause(ctx, time.Hour), context.Canceled)
}

// run starts one service with telemetry that goes to a sink, and returns its addresses.
func run(t *testing.T, name string, peers Peers, listeners int) ([]string, *otlptest.Sink) {
	t.Helper()
	sink := otlptest.Start(t)
	conn, err := grpc.NewClient("passthrough:///"+sink.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	tel, err := telemetry.New(t.Context(), telemetry.Identity{Service: name, Version: "1"},
		telemetry.Settings{Conn: conn, BatchEvery: 10 * time.Millisecond, MetricsEvery: time.Hour})
	require.NoError(t, err)
	var opened []net.Listener
	var addresses []string
	for range listeners {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		opened, addresses = append(opened, listener), append(addresses, listener.Addr().String())
	}
	spec, err := fault.Find(fault.IdleService)
	require.NoError(t, err)
	params, err := spec.Resolve(nil)
	require.NoError(t, err)
	running, err := Start(name, Env{
		Tel: tel, Faults: fault.NewSet(time.Now, nil, nil), Peers: peers, DataDir: t.TempDir(), Params: params,
		Chance: func() float64 { return 0 }, Now: time.Now,
	}, opened...)
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		assert.NoError(t, running.Stop(ctx))
		assert.NoError(t, tel.Shutdown(ctx))
		assert.NoError(t, conn.Close())
	})
	return addresses, sink
}

func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, strings.TrimSpace(string(raw))
}

func TestCartKeepsWhatUsersWant(t *testing.T) {
	at, sink := run(t, Cart, Peers{}, 1)
	base := "http://" + at[0] + "/v1/carts/ann"
	for _, body := range []string{`{"product_id":3,"quantity":1}`, `{"product_id":1,"quantity":2}`, `{"product_id":3,"quantity":4}`} {
		status, _ := ask(t, http.MethodPost, base+"/items", body)
		require.Equal(t, http.StatusOK, status)
	}
	_, lines := ask(t, http.MethodGet, base, "")
	assert.JSONEq(t, `[{"product_id":1,"quantity":2},{"product_id":3,"quantity":5}]`, lines)
	_, lines = ask(t, http.MethodGet, "http://"+at[0]+"/v1/carts/bob", "")
	assert.JSONEq(t, `[]`, lines)
	status, _ := ask(t, http.MethodDelete, base, "")
	assert.Equal(t, http.StatusOK, status)
	_, lines = ask(t, http.MethodGet, base, "")
	assert.JSONEq(t, `[]`, lines)

	for body, want := range map[string]string{`{"product_id":3,"quantity":0}`: "quantity must be from 1 to 100", `hello`: "not the JSON"} {
		status, answer := ask(t, http.MethodPost, base+"/items", body)
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Contains(t, answer, want)
	}
	require.Eventually(t, func() bool {
		return len(sink.Logs(func(r otlptest.Record) bool { return r.SeverityText == "WARN" })) == 2
	}, 10*time.Second, 10*time.Millisecond)
	assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return s.Failed() }), "a caller's mistake is no failure of the service")
}

func TestInventoryShowsAndReserves(t *testing.T) {
	at, _ := run(t, Inventory, Peers{}, 2)
	code, first := ask(t, http.MethodGet, "http://"+at[0]+"/v1/products/1", "")
	require.Equal(t, http.StatusOK, code)
	assert.JSONEq(t, `{"id":1,"name":"tyre set 01","price_cents":1990,"on_hand":1000000}`, first)
	for path, want := range map[string]int{"/v1/products/99": 404, "/v1/products/x": 400, "/v1/products": 200} {
		code, _ := ask(t, http.MethodGet, "http://"+at[0]+path, "")
		assert.Equal(t, want, code, path)
	}

	conn, err := grpc.NewClient("passthrough:///"+at[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	stock := shoppb.NewStockClient(conn)
	answer, err := stock.Reserve(t.Context(), &shoppb.ReserveRequest{Items: []*shoppb.Item{{ProductId: 1, Quantity: 3}, {ProductId: 2, Quantity: 1}}})
	require.NoError(t, err)
	assert.EqualValues(t, 2, answer.GetReserved())
	assert.EqualValues(t, 3*1990+2240, answer.GetTotalCents())
	_, after := ask(t, http.MethodGet, "http://"+at[0]+"/v1/products/1", "")
	assert.Contains(t, after, `"on_hand":999997`)
	_, err = stock.Reserve(t.Context(), &shoppb.ReserveRequest{Items: []*shoppb.Item{{ProductId: 99, Quantity: 1}}})
	assert.Equal(t, codes.NotFound, status.Code(err))
}

func TestPaymentChargesPositiveAmounts(t *testing.T) {
	at, _ := run(t, Payment, Peers{}, 1)
	conn, err := grpc.NewClient("passthrough:///"+at[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	client := shoppb.NewPaymentClient(conn)
	one, err := client.Charge(t.Context(), &shoppb.ChargeRequest{OrderId: "a", AmountCents: 100})
	require.NoError(t, err)
	assert.Len(t, one.GetTransactionId(), 16)
	_, err = client.Charge(t.Context(), &shoppb.ChargeRequest{OrderId: "a", AmountCents: 0})
	assert.Equal(t, codes.FailedPrecondition, status.Code(err))
}

func TestRecommenderAnswersWhoeverAsks(t *testing.T) {
	at, _ := run(t, Recommender, Peers{}, 1)
	status, body := ask(t, http.MethodGet, "http://"+at[0]+"/v1/recommendations", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "[]", body)
}

func TestFrontendWithoutPeersFailsAndSaysSo(t *testing.T) {
	nobody := "127.0.0.1:1"
	at, sink := run(t, Frontend, Peers{Cart: nobody, Checkout: nobody, CheckoutCanary: nobody, InventoryHTTP: nobody}, 1)
	for request, want := range map[string]int{"GET /": 502, "GET /products/1": 502, "GET /cart/u": 502, "POST /checkout/u": 502, "POST /cart/u": 400} {
		method, path, _ := strings.Cut(request, " ")
		status, _ := ask(t, method, "http://"+at[0]+path, "")
		assert.Equal(t, want, status, request)
	}
	require.Eventually(t, func() bool {
		return len(sink.Spans(func(s otlptest.Span) bool { return s.Failed() && s.Attrs["error.type"] == "upstream_unreachable" })) == 3 &&
			len(sink.Logs(func(r otlptest.Record) bool { return r.SeverityText == "ERROR" })) == 4
	}, 10*time.Second, 10*time.Millisecond)
}

func TestAnEmptyCartIsTheCallersMistake(t *testing.T) {
	cart, _ := run(t, Cart, Peers{}, 1)
	checkout, _ := run(t, Checkout, Peers{Cart: cart[0], Payment: "127.0.0.1:1", InventoryGRPC: "127.0.0.1:1"}, 1)
	frontend, sink := run(t, Frontend, Peers{Checkout: checkout[0]}, 1)
	status, answer := ask(t, http.MethodPost, "http://"+frontend[0]+"/checkout/ann", "")
	assert.Equal(t, http.StatusConflict, status)
	assert.Contains(t, answer, "the cart is empty")
	require.Eventually(t, func() bool {
		return len(sink.Spans(func(s otlptest.Span) bool { return s.Name == "POST /checkout/{user}" && !s.Failed() })) == 1
	}, 10*time.Second, 10*time.Millisecond)

	// With something in it, the order gets as far as the goods, which nobody has.
	code, _ := ask(t, http.MethodPost, "http://"+cart[0]+"/v1/carts/ann/items", `{"product_id":3,"quantity":1}`)
	require.Equal(t, http.StatusOK, code)
	status, _ = ask(t, http.MethodPost, "http://"+frontend[0]+"/checkout/ann", "")
	assert.Equal(t, http.StatusBadGateway, status)
}

func TestStartNamesWhatItCannotStart(t *testing.T) {
	_, err := Start("bank", Env{})
	require.ErrorContains(t, err, `unknown service "bank"`)
	_, err = Start(Inventory, Env{})
	require.ErrorContains(t, err, "starting inventory: inventory needs a listener for HTTP and one for gRPC (got 0)")
}

// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/shoppb"
)

// checkout turns a cart into a paid order.
type checkout struct {
	shoppb.UnimplementedCheckoutServer
	Env
	http    client
	stock   shoppb.StockClient
	payment shoppb.PaymentClient
	orders  atomic.Int64
}

func startCheckout(env Env, run *Running, listeners ...net.Listener) error {
	c := &checkout{Env: env}
	if err := env.observeRequests(usualCPU, usualMemory); err != nil {
		return err
	}
	stock, err := env.dial(run, env.Peers.InventoryGRPC)
	if err != nil {
		return err
	}
	payment, err := env.dial(run, env.Peers.Payment)
	if err != nil {
		return err
	}
	c.stock, c.payment = shoppb.NewStockClient(stock), shoppb.NewPaymentClient(payment)
	c.http = env.newClient(run)
	env.serveGRPC(run, listeners[0], func(r grpc.ServiceRegistrar) { shoppb.RegisterCheckoutServer(r, c) })
	return nil
}

// PlaceOrder reads the cart, sets the goods aside, charges the card and empties the cart.
func (c *checkout) PlaceOrder(ctx context.Context, req *shoppb.PlaceOrderRequest) (*shoppb.PlaceOrderResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var lines []Line
	if err := c.http.call(ctx, http.MethodGet, cartURL(c.Peers.Cart, req.GetUserId()), nil, &lines); err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, &failure{status: http.StatusConflict, kind: "empty_cart", message: "the cart is empty"}
	}
	if err := c.regress(ctx); err != nil {
		return nil, err
	}
	order := c.Tel.Identity.Version + "-" + strconv.FormatInt(c.orders.Add(1), 10)
	items := make([]*shoppb.Item, len(lines))
	for i, line := range lines {
		items[i] = &shoppb.Item{ProductId: line.ProductID, Quantity: line.Quantity}
	}
	reserved, err := c.stock.Reserve(ctx, &shoppb.ReserveRequest{OrderId: order, Items: items})
	if err != nil {
		return nil, fmt.Errorf("reserving: %w", err)
	}
	if _, err := c.payment.Charge(ctx, &shoppb.ChargeRequest{OrderId: order, AmountCents: reserved.GetTotalCents()}); err != nil {
		return nil, fmt.Errorf("charging: %w", err)
	}
	if err := c.http.call(ctx, http.MethodDelete, cartURL(c.Peers.Cart, req.GetUserId()), nil, nil); err != nil {
		return nil, err
	}
	c.Tel.Log.InfoContext(ctx, "order placed", "shop.order.id", order, "shop.order.total_cents", reserved.GetTotalCents())
	return &shoppb.PlaceOrderResponse{OrderId: order, TotalCents: reserved.GetTotalCents()}, nil
}

// regress is what the newer version does worse.
func (c *checkout) regress(ctx context.Context) error {
	params, on := c.Faults.Lookup(fault.Canary)
	if !c.Canary || !on {
		return nil
	}
	ctx, span := c.Tel.Tracer().Start(ctx, "apply discounts")
	defer span.End()
	if err := pause(ctx, params.Duration("delay")); err != nil {
		return err
	}
	if c.Chance() < params.Number("error_rate") {
		return &failure{status: http.StatusInternalServerError, kind: "shop.DiscountError", message: "a discount is not a number"}
	}
	return nil
}

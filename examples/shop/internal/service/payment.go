// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc"

	"github.com/pitwall-io/pitwall/examples/shop/internal/shoppb"
)

// payment charges cards.
type payment struct {
	shoppb.UnimplementedPaymentServer
}

func startPayment(env Env, run *Running, listeners ...net.Listener) error {
	if err := env.observeRequests(usualCPU, usualMemory); err != nil {
		return err
	}
	env.serveGRPC(run, listeners[0], func(r grpc.ServiceRegistrar) { shoppb.RegisterPaymentServer(r, payment{}) })
	return nil
}

// Charge accepts any positive amount; the transaction's identifier is derived from order and amount.
func (payment) Charge(_ context.Context, req *shoppb.ChargeRequest) (*shoppb.ChargeResponse, error) {
	if req.GetAmountCents() <= 0 {
		return nil, &failure{status: http.StatusBadRequest, kind: "bad_amount", message: "the amount must be positive (got " + strconv.FormatInt(req.GetAmountCents(), 10) + ")"}
	}
	sum := sha256.Sum256([]byte(req.GetOrderId() + "/" + strconv.FormatInt(req.GetAmountCents(), 10)))
	return &shoppb.ChargeResponse{TransactionId: hex.EncodeToString(sum[:8])}, nil
}

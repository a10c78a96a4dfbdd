// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"net/http"
)

// startRecommender starts the service that has much set aside for it and that nobody asks.
func startRecommender(env Env, run *Running, listeners ...net.Listener) error {
	if err := env.observeRequests(env.Params.Number("cpu"), int64(env.Params.Number("memory_mb"))<<20); err != nil {
		return err
	}
	env.serveHTTP(run, listeners[0], map[string]endpoint{
		"GET /v1/recommendations": func(*http.Request) (any, error) { return []Product{}, nil },
	})
	env.Tel.Log.Info("ready for requests")
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the built binaries as a user does and looks at what comes out at the far end.
package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// envelope is what these tests read of a signal.
type envelope struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	State     string    `json:"state"`
	ValidFrom time.Time `json:"valid_from"`
	Target    struct {
		Service string `json:"service"`
	} `json:"target"`
}

// endpoints are free loopback addresses for one collector, and the environment that hands them to the configurations.
type endpoints struct {
	otlpGRPC, otlpHTTP, api, health string
	env                             []string
}

func newEndpoints(t *testing.T) endpoints {
	t.Helper()
	e := endpoints{otlpGRPC: harness.Address(t), otlpHTTP: harness.Address(t), api: harness.Address(t), health: harness.Address(t)}
	_, metricsPort, err := net.SplitHostPort(harness.Address(t))
	require.NoError(t, err)
	e.env = []string{
		"PITWALL_OTLP_GRPC_ENDPOINT=" + e.otlpGRPC,
		"PITWALL_OTLP_HTTP_ENDPOINT=" + e.otlpHTTP,
		"PITWALL_API_ENDPOINT=" + e.api,
		"PITWALL_HEALTH_ENDPOINT=" + e.health,
		"PITWALL_METRICS_PORT=" + metricsPort,
		"PITWALL_STATE_DIR=" + t.TempDir(),
	}
	return e
}

func (e endpoints) healthURL() string { return "http://" + e.health + "/health/status" }

// config returns the path of one of the configurations we ship.
func config(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(harness.Root(t), "configs", name)
}

// getJSON decodes the answer to a GET, which must be 200.
func getJSON(t *testing.T, address, path string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode, path)
	require.NoError(t, json.NewDecoder(response.Body).Decode(into))
}

// readSignals reads a file of envelopes, one a line.
func readSignals(path string) ([]envelope, error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var signals []envelope
	decoder := json.NewDecoder(file)
	for decoder.More() {
		var e envelope
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("signal %d: %w", len(signals)+1, err)
		}
		signals = append(signals, e)
	}
	return signals, nil
}

// SPDX-License-Identifier: Apache-2.0

package opamp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// fleetServer is a real OpAMP server that remembers the last thing its one
// agent said of each kind.
type fleetServer struct {
	// url is where agents connect.
	url    string
	server server.OpAMPServer

	mu            sync.Mutex
	connection    types.Connection
	authorization string
	effective     string
	health        *protobufs.ComponentHealth
	description   *protobufs.AgentDescription
	components    *protobufs.AvailableComponents
	// statuses holds every distinct remote configuration status in the order of
	// arrival.
	statuses []*protobufs.RemoteConfigStatus
}

func startServer(t *testing.T) *fleetServer {
	t.Helper()
	address := harness.Address(t)
	f := &fleetServer{url: "ws://" + address + "/v1/opamp", server: server.New(nil)}
	err := f.server.Start(server.StartSettings{
		ListenEndpoint: address,
		Settings: server.Settings{Callbacks: types.Callbacks{OnConnecting: func(request *http.Request) types.ConnectionResponse {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.authorization = request.Header.Get("Authorization")
			return types.ConnectionResponse{Accept: true, ConnectionCallbacks: types.ConnectionCallbacks{OnMessage: f.onMessage}}
		}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = f.server.Stop(ctx)
	})
	return f
}

func (f *fleetServer) onMessage(_ context.Context, connection types.Connection, message *protobufs.AgentToServer) *protobufs.ServerToAgent {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connection = connection
	if config := message.GetEffectiveConfig().GetConfigMap().GetConfigMap(); config != nil {
		f.effective = string(config[""].GetBody())
	}
	if message.GetHealth() != nil {
		f.health = message.GetHealth()
	}
	if message.GetAgentDescription() != nil {
		f.description = message.GetAgentDescription()
	}
	if message.GetAvailableComponents() != nil {
		f.components = message.GetAvailableComponents()
	}
	if status := message.GetRemoteConfigStatus(); status != nil {
		f.statuses = append(f.statuses, status)
	}
	return &protobufs.ServerToAgent{InstanceUid: message.GetInstanceUid()}
}

// offer sends a remote configuration and returns its hash.
func (f *fleetServer) offer(t *testing.T, body string) []byte {
	t.Helper()
	hash := sha256.Sum256([]byte(body))
	f.mu.Lock()
	connection := f.connection
	f.mu.Unlock()
	require.NotNil(t, connection, "no agent is connected")
	require.NoError(t, connection.Send(t.Context(), &protobufs.ServerToAgent{
		RemoteConfig: &protobufs.AgentRemoteConfig{
			ConfigHash: hash[:],
			Config: &protobufs.AgentConfigMap{ConfigMap: map[string]*protobufs.AgentConfigFile{
				"": {Body: []byte(body), ContentType: "text/yaml"},
			}},
		},
	}))
	return hash[:]
}

// verdict waits until the agent has said APPLIED or FAILED of the configuration
// with this hash.
func (f *fleetServer) verdict(t *testing.T, hash []byte, limit time.Duration) *protobufs.RemoteConfigStatus {
	t.Helper()
	var found *protobufs.RemoteConfigStatus
	harness.Await(t, limit, "a verdict on the offered configuration", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, status := range f.statuses {
			if bytes.Equal(status.GetLastRemoteConfigHash(), hash) && isFinal(status.GetStatus()) {
				found = status
			}
		}
		return found != nil
	})
	return found
}

func isFinal(status protobufs.RemoteConfigStatuses) bool {
	return status == protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED ||
		status == protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED
}

func (f *fleetServer) forgetStatuses() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses = nil
}

func (f *fleetServer) healthy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health.GetHealthy()
}

// healthOf names the parts whose health is reported.
func (f *fleetServer) healthOf() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.health.GetComponentHealthMap()))
}

func (f *fleetServer) knowsComponents() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.components.GetHash()) > 0
}

func (f *fleetServer) credentials() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.authorization
}

func (f *fleetServer) effectiveConfig() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.effective
}

// attribute returns an attribute of the agent's description, of either kind.
func (f *fleetServer) attribute(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, attributes := range [][]*protobufs.KeyValue{f.description.GetIdentifyingAttributes(), f.description.GetNonIdentifyingAttributes()} {
		for _, attribute := range attributes {
			if attribute.GetKey() == key {
				return attribute.GetValue().GetStringValue()
			}
		}
	}
	return ""
}

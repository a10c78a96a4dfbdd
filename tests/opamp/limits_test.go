// SPDX-License-Identifier: Apache-2.0

package opamp_test

import (
	"strings"
	"testing"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// The README warns of each. A newer supervisor in which one no longer holds
// fails this test, and then the warning goes.
func TestKnownLimitsOfTheSupervisor(t *testing.T) {
	h := startHost(t, "gateway", launcher(t))
	harness.Await(t, verdictWait, "the collector to take data", func() bool { return h.accepts("local") })

	t.Run("an empty remote configuration stops the collector", func(t *testing.T) {
		hash := []byte("empty")
		h.fleet.mu.Lock()
		connection := h.fleet.connection
		h.fleet.mu.Unlock()
		require.NoError(t, connection.Send(t.Context(), &protobufs.ServerToAgent{
			RemoteConfig: &protobufs.AgentRemoteConfig{ConfigHash: hash, Config: &protobufs.AgentConfigMap{}},
		}))
		assert.Equal(t, applied, h.fleet.verdict(t, hash, verdictWait).GetStatus())
		harness.Await(t, verdictWait, "the collector to be gone", func() bool { return !h.accepts("empty") })
		require.True(t, h.recovers(t), "a good configuration starts it again")
	})

	t.Run("the server can cut the supervisor off from its collector", func(t *testing.T) {
		cut := h.good().set("extensions::opamp::server::ws::endpoint", "ws://127.0.0.1:1/v1/opamp").yaml(t)
		status := h.fleet.verdict(t, h.fleet.offer(t, cut), verdictWait)
		assert.Equal(t, failed, status.GetStatus())
		assert.Contains(t, status.GetErrorMessage(), "timeout")
		assert.True(t, h.delivers("cut", verdictWait), "the collector runs what was reported as failed")

		cutOff := h.pid(t)
		h.fleet.offer(t, h.good().yaml(t))
		harness.Await(t, verdictWait, "the collector to be replaced", func() bool { return h.pid(t) != cutOff })
		harness.Await(t, verdictWait, "the supervisor to hear from it again", h.fleet.healthy)
	})

	t.Run("a refused configuration is what a restarted supervisor starts with", func(t *testing.T) {
		broken := h.good().set("exporters::file::no_such_key", 1).yaml(t)
		require.Equal(t, failed, h.fleet.verdict(t, h.fleet.offer(t, broken), verdictWait).GetStatus())
		require.True(t, h.delivers("refused", verdictWait))

		h.stop(t)
		h.start(t)
		harness.Await(t, verdictWait, "the collector to fall over the stored configuration", func() bool {
			return strings.Contains(h.supervisor.Logs(), "exited unexpectedly")
		})
		assert.False(t, h.accepts("restarted"))
		require.True(t, h.recovers(t), "the server can still offer a good one")
	})
}

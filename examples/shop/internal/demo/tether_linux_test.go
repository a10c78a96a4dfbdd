// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACollectorEndsWithAKilledDemo(t *testing.T) {
	config := testConfig(t, "ok")
	address := os.Getenv("PITWALL_OTLP_GRPC_ENDPOINT")
	listens := func() bool {
		conn, err := net.Dial("tcp", address)
		return err == nil && conn.Close() == nil
	}
	demo := exec.Command(config.Collector)
	demo.Env = append(os.Environ(), killedDemo+"="+config.File)
	require.NoError(t, demo.Start())
	t.Cleanup(func() { _ = demo.Process.Kill() })
	require.Eventually(t, listens, patience, 10*time.Millisecond)

	require.NoError(t, demo.Process.Kill())
	require.Error(t, demo.Wait())
	assert.Eventually(t, func() bool { return !listens() }, patience, 10*time.Millisecond)
}

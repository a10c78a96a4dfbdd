// SPDX-License-Identifier: Apache-2.0

package opamp_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

func TestStandaloneReportsWhatItRunsAndHowItIs(t *testing.T) {
	const instance = "01a1fbcc-6e33-7958-852b-2f864376fcde"
	fleet := startServer(t)
	otlp := harness.Address(t)
	collector := harness.Start(t, harness.Options{
		Binary:  harness.Binary(t, "pitwall"),
		Configs: []string{filepath.Join(harness.Root(t), "configs", "opamp", "standalone.yaml")},
		Env: []string{
			"PITWALL_OPAMP_ENDPOINT=" + fleet.url,
			"PITWALL_OPAMP_AUTHORIZATION=Bearer secret",
			"PITWALL_OPAMP_INSTANCE_UID=" + instance,
			"PITWALL_ROLE=gateway",
			"PITWALL_STATE_DIR=" + t.TempDir(),
			"PITWALL_HEALTH_ENDPOINT=" + harness.Address(t),
			"PITWALL_OTLP_GRPC_ENDPOINT=" + otlp,
			"PITWALL_OTLP_HTTP_ENDPOINT=" + harness.Address(t),
			"PITWALL_METRICS_PORT=" + port(harness.Address(t)),
		},
	})

	harness.Await(t, verdictWait, "the collector to report itself healthy", fleet.healthy)
	harness.Await(t, verdictWait, "the effective configuration to be reported", func() bool {
		return strings.Contains(fleet.effectiveConfig(), otlp)
	})
	assert.Equal(t, instance, fleet.attribute("service.instance.id"))
	assert.Equal(t, "gateway", fleet.attribute("pitwall.role"))
	assert.NotContains(t, fleet.effectiveConfig(), "secret", "credentials stay on the machine")

	assert.Equal(t, "Bearer secret", fleet.credentials())
	assert.True(t, fleet.knowsComponents(), "the components in the binary are reported")
	assert.Contains(t, fleet.healthOf(), "pipeline:traces", "health is told by pipeline")

	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	harness.Await(t, verdictWait, "the server to hear that it is gone", func() bool { return !fleet.healthy() })
}

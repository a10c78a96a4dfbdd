// SPDX-License-Identifier: Apache-2.0

package opamp_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

const (
	applied = protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED
	failed  = protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED

	// verdictWait is longer than the supervisor's config_apply_timeout, which is
	// also how long it takes to say APPLIED.
	verdictWait = 60 * time.Second
)

// host is one machine of a fleet: the stock supervisor with the collector under
// it, both configured by the files we ship.
type host struct {
	role       string
	fleet      *fleetServer
	supervisor *harness.Process
	otlpHTTP   string
	sink       string
	dir        string
	env        []string
	config     string
}

func startHost(t *testing.T, role, launcher string) *host {
	t.Helper()
	root := harness.Root(t)
	h := &host{role: role, fleet: startServer(t), otlpHTTP: harness.Address(t), dir: t.TempDir()}
	h.sink = filepath.Join(h.dir, "received.jsonl")
	binary := harness.Binary(t, "pitwall")
	if launcher == "" {
		launcher = binary
	}
	h.config = filepath.Join(root, "configs", "opamp", "supervisor-"+role+".yaml")
	h.env = []string{
		"PITWALL_OPAMP_ENDPOINT=" + h.fleet.url,
		"PITWALL_OPAMP_AUTHORIZATION=Bearer secret",
		"PITWALL_BINARY=" + binary,
		"PITWALL_LAUNCHER=" + launcher,
		"PITWALL_LOCAL_CONFIG=" + filepath.Join(root, "configs", role+".yaml"),
		"PITWALL_SUPERVISOR_STATE=" + filepath.Join(h.dir, "supervisor"),
		"PITWALL_SUPERVISOR_HEALTH_ENDPOINT=" + harness.Address(t),
		"PITWALL_SUPERVISOR_LOG_LEVEL=debug",
		"PITWALL_CONFIG_APPLY_TIMEOUT=3s",
		"PITWALL_STATE_DIR=" + filepath.Join(h.dir, "storage"),
		"PITWALL_HEALTH_ENDPOINT=" + harness.Address(t),
		"PITWALL_OTLP_GRPC_ENDPOINT=" + harness.Address(t),
		"PITWALL_OTLP_HTTP_ENDPOINT=" + h.otlpHTTP,
		"PITWALL_METRICS_PORT=" + port(harness.Address(t)),
		"PITWALL_API_ENDPOINT=" + harness.Address(t),
		"PITWALL_BACKEND_ENDPOINT=" + harness.Address(t),
		"PITWALL_GATEWAY_PORT=" + port(harness.Address(t)),
		"PITWALL_LOG_GLOB=" + filepath.Join(h.dir, "*.log-of-a-pod"),
	}
	h.start(t)
	return h
}

// start runs the supervisor. It handles only the interrupt signal in good
// order, so that is how it is stopped.
func (h *host) start(t *testing.T) {
	t.Helper()
	// To learn what the collector is, the supervisor starts it once on a
	// configuration of its own, which serves metrics at the default port.
	harness.Await(t, verdictWait, "port 8888 to be free", func() bool {
		listener, err := net.Listen("tcp", "127.0.0.1:8888")
		if err == nil {
			listener.Close()
		}
		return err == nil
	})
	h.supervisor = harness.Start(t, harness.Options{
		Binary:     harness.Supervisor(t),
		Configs:    []string{h.config},
		Env:        h.env,
		Log:        filepath.Join(h.dir, fmt.Sprintf("supervisor-%d.log", time.Now().UnixNano())),
		ReadyLine:  "Supervisor starting",
		StopSignal: syscall.SIGINT,
	})
	t.Cleanup(func() {
		if _, err := h.supervisor.Stop(); err != nil {
			t.Errorf("supervisor: %v", err)
		}
		if t.Failed() {
			agent, _ := os.ReadFile(filepath.Join(h.dir, "supervisor", "agent.log"))
			t.Logf("agent log:\n%s", agent[max(0, len(agent)-4000):])
		}
	})
}

func (h *host) stop(t *testing.T) {
	t.Helper()
	exit, err := h.supervisor.Stop()
	require.NoError(t, err)
	require.Zero(t, exit.Code)
}

// accepts says whether the collector takes a span by OTLP over HTTP.
func (h *host) accepts(name string) bool {
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},`+
		`"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":%q,"kind":2,`+
		`"startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600010000000"}]}]}]}`, name)
	client := &http.Client{Timeout: 2 * time.Second}
	response, err := client.Post("http://"+h.otlpHTTP+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// delivers sends a span and waits until it is in the file that the offered
// configurations write to.
func (h *host) delivers(name string, within time.Duration) bool {
	if !h.accepts(name) {
		return false
	}
	return harness.Eventually(within, func() bool {
		text, _ := os.ReadFile(h.sink)
		return bytes.Contains(text, []byte(`"`+name+`"`))
	})
}

// pid is the running collector, from the supervisor's last word about it.
func (h *host) pid(t *testing.T) string {
	t.Helper()
	const marker = "Agent process started"
	log := h.supervisor.Logs()
	at := strings.LastIndex(log, marker)
	require.GreaterOrEqual(t, at, 0, "the supervisor started no agent")
	line, _, _ := strings.Cut(log[at:], "\n")
	return line
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func launcher(t *testing.T) string {
	t.Helper()
	return filepath.Join(harness.Root(t), "configs", "opamp", "supervised")
}

func TestRemoteConfigurationBecomesEffectiveAndABrokenOneIsRefused(t *testing.T) {
	for _, role := range []string{"agent", "gateway"} {
		t.Run(role, func(t *testing.T) {
			h := startHost(t, role, launcher(t))

			harness.Await(t, verdictWait, "the collector to take data on its local configuration", func() bool { return h.accepts("local") })
			assert.Equal(t, role, h.fleet.attribute("pitwall.role"))
			assert.Equal(t, "Bearer secret", h.fleet.credentials())
			assert.True(t, h.fleet.knowsComponents(), "the components in the binary are reported")

			good := h.fleet.offer(t, h.good().yaml(t))
			status := h.fleet.verdict(t, good, verdictWait)
			require.Equal(t, applied, status.GetStatus(), status.GetErrorMessage())
			harness.Await(t, verdictWait, "the remote configuration to be reported as effective", func() bool {
				return strings.Contains(h.fleet.effectiveConfig(), h.sink)
			})
			harness.Await(t, verdictWait, "the fleet server to hear that the collector is healthy", h.fleet.healthy)
			require.True(t, h.delivers("before", verdictWait), "a span must reach the sink of the remote configuration")

			before := h.pid(t)
			broken := h.fleet.offer(t, h.good().set("exporters::file::no_such_key", 1).yaml(t))
			status = h.fleet.verdict(t, broken, verdictWait)
			assert.Equal(t, failed, status.GetStatus())
			assert.Contains(t, status.GetErrorMessage(), "no_such_key", "the server is told what is wrong")

			assert.True(t, h.delivers("after", verdictWait), "the old configuration still delivers")
			assert.Equal(t, before, h.pid(t), "the collector was not even restarted")
			assert.NotContains(t, h.fleet.effectiveConfig(), "no_such_key")
			assert.True(t, h.fleet.healthy())

			h.stop(t)
			harness.Await(t, 30*time.Second, "the collector to end with its supervisor", func() bool { return !h.accepts("gone") })
		})
	}
}

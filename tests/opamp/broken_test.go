// SPDX-License-Identifier: Apache-2.0

package opamp_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// outcome is what became of a broken configuration that was offered.
type outcome string

const (
	// refused: reported FAILED, and the old configuration never stopped.
	refused outcome = "refused"
	// outage: reported FAILED, but the old configuration was stopped first and
	// nothing is accepted until a good one is offered.
	outage outcome = "**outage**"
	// wedged is an outage that a good configuration does not end.
	wedged outcome = "**outage, and good ones are refused from then on**"
	// silent: reported APPLIED and healthy, yet no data arrives.
	silent outcome = "**applied, data lost**"
)

// settings is a configuration as a tree, changed by paths such as
// exporters::file::path.
type settings map[string]any

func (s settings) set(path string, value any) settings {
	keys := strings.Split(path, "::")
	node := map[string]any(s)
	for _, key := range keys[:len(keys)-1] {
		child, ok := node[key].(map[string]any)
		if !ok {
			child = map[string]any{}
			node[key] = child
		}
		node = child
	}
	node[keys[len(keys)-1]] = value
	return s
}

func (s settings) yaml(t *testing.T) string {
	t.Helper()
	text, err := yaml.Marshal(map[string]any(s))
	require.NoError(t, err)
	return string(text)
}

// good is a remote configuration that delivers to the sink.
func (h *host) good() settings {
	c := settings{}
	if h.role == "gateway" { // its sampled branch hangs on the pipeline that is replaced below
		c.set("service::pipelines::traces/sampled::receivers", []string{"otlp"})
	}
	return c.
		set("exporters::file::path", h.sink).
		set("exporters::file::flush_interval", "100ms").
		set("service::pipelines::traces", map[string]any{
			"receivers": []string{"otlp"}, "processors": []string{"memory_limiter"}, "exporters": []string{"file"},
		})
}

// broken is a configuration that must not replace a good one, and what the
// stock supervisor makes of it: with our launcher, and alone.
type broken struct {
	name     string
	make     func(good settings) settings
	raw      string
	launched outcome
	alone    outcome
}

var brokenConfigurations = []broken{
	{name: "not YAML", raw: "receivers: [otlp\n", launched: refused, alone: refused},
	{name: "YAML, but not a map", raw: "- receivers\n", launched: refused, alone: refused},
	{
		name: "unknown key", launched: refused, alone: refused,
		make: func(c settings) settings { return c.set("exporters::file::no_such_key", 1) },
	},
	{
		name: "unknown component type", launched: refused, alone: refused,
		make: func(c settings) settings { return c.set("exporters::no_such_type", nil) },
	},
	{
		name: "undefined exporter in a pipeline that already runs", launched: refused, alone: wedged,
		make: func(c settings) settings {
			return c.set("service::pipelines::traces::exporters", []string{"otlp_http"})
		},
	},
	{
		name: "undefined exporter in a new pipeline", launched: refused, alone: refused,
		make: func(c settings) settings {
			return c.set("service::pipelines::traces/new", map[string]any{"receivers": []string{"otlp"}, "exporters": []string{"otlp_http"}})
		},
	},
	{
		name: "definition removed, still used", launched: refused, alone: outage,
		make: func(c settings) settings { delete(c, "exporters"); return c },
	},
	{
		name: "undefined extension", launched: refused, alone: wedged,
		make: func(c settings) settings { return c.set("service::extensions", []string{"zpages"}) },
	},
	{
		name: "pipeline without a receiver", launched: refused, alone: wedged,
		make: func(c settings) settings { return c.set("service::pipelines::traces::receivers", []string{}) },
	},
	{
		name: "wrong type of a value set before", launched: refused, alone: wedged,
		make: func(c settings) settings { return c.set("processors::memory_limiter::limit_mib", "plenty") },
	},
	{
		name: "wrong type of a value not set before", launched: refused, alone: refused,
		make: func(c settings) settings { return c.set("exporters::file::append", "perhaps") },
	},
	{
		name: "value out of range, set before", launched: refused, alone: wedged,
		make: func(c settings) settings { return c.set("processors::memory_limiter::check_interval", "-1s") },
	},
	{
		name: "value out of range, not set before", launched: refused, alone: refused,
		make: func(c settings) settings { return c.set("exporters::otlp_grpc::sending_queue::num_consumers", -1) },
	},
	{
		name: "port number out of range", launched: outage, alone: outage,
		make: func(c settings) settings {
			return c.set("receivers::otlp::protocols::grpc::endpoint", "127.0.0.1:99999")
		},
	},
	{
		name: "port taken by another program", launched: outage, alone: outage,
		make: func(c settings) settings {
			return c.set("receivers::otlp::protocols::grpc::endpoint", takenAddress)
		},
	},
	{
		name: "file that cannot be written", launched: outage, alone: outage,
		make: func(c settings) settings { return c.set("exporters::file::path", "/proc/none/received.jsonl") },
	},
	{
		name: "filter that drops everything", launched: silent, alone: silent,
		make: func(c settings) settings {
			return c.set("processors::filter::traces::span", []string{"true"}).
				set("service::pipelines::traces::processors", []string{"filter"})
		},
	},
	{
		name: "memory limit so low that everything is refused", launched: outage, alone: outage,
		make: func(c settings) settings {
			return c.set("processors::memory_limiter::limit_mib", 2).set("processors::memory_limiter::spike_limit_mib", 1)
		},
	},
	{
		name: "exporter to a place that does not answer", launched: silent, alone: silent,
		make: func(c settings) settings {
			return c.set("service::pipelines::traces::exporters", []string{"otlp_grpc"})
		},
	},
	{
		name: "receiver moved to another port", launched: silent, alone: silent,
		make: func(c settings) settings {
			return c.set("receivers::otlp::protocols::http::endpoint", "127.0.0.1:0")
		},
	},
}

// takenAddress stands in a configuration for one that somebody listens on.
const takenAddress = "taken"

func (b broken) body(t *testing.T, h *host, taken string) string {
	t.Helper()
	if b.make == nil {
		return b.raw
	}
	return strings.ReplaceAll(b.make(h.good()).yaml(t), ": "+takenAddress+"\n", ": "+taken+"\n")
}

func TestBrokenConfigurations(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()

	variants := []struct {
		name     string
		launcher string
		want     func(broken) outcome
	}{
		{"supervisor with the launcher", launcher(t), func(b broken) outcome { return b.launched }},
		{"supervisor alone", "", func(b broken) outcome { return b.alone }},
	}
	for _, variant := range variants {
		t.Run(variant.name, func(t *testing.T) {
			if variant.launcher == "" {
				harness.SkipUnlessProving(t, "the supervisor alone is no configuration of ours")
			}
			var h *host
			for i, b := range brokenConfigurations {
				if h == nil {
					h = startHost(t, "gateway", variant.launcher)
					harness.Await(t, verdictWait, "the collector to take data on its local configuration", func() bool { return h.accepts("local") })
					require.True(t, h.recovers(t), "a good configuration must be applied to begin with")
				}
				got, detail := h.offerBroken(t, b.body(t, h, listener.Addr().String()), fmt.Sprintf("span-%d", i))
				if got != refused && !h.recovers(t) {
					if got == outage {
						got = wedged
					}
					h.stop(t)
					h = nil
				}
				t.Logf("%s: %s %s", b.name, got, detail)
				assert.Equal(t, variant.want(b), got, b.name)
			}
		})
	}
}

// offerBroken offers a configuration to a host that runs a good one and tells
// what became of it.
func (h *host) offerBroken(t *testing.T, body, marker string) (outcome, string) {
	t.Helper()
	before := h.pid(t)
	h.fleet.forgetStatuses()
	status := h.fleet.verdict(t, h.fleet.offer(t, body), verdictWait)
	detail := status.GetErrorMessage()
	if i := strings.LastIndex(strings.TrimSpace(detail), "\n"); i >= 0 {
		detail = detail[i+1:]
	}
	switch {
	case status.GetStatus() == applied && h.fleet.healthy() && !h.delivers(marker, 2*time.Second):
		return silent, detail
	case status.GetStatus() == failed && h.pid(t) == before && h.delivers(marker, verdictWait):
		return refused, detail
	case status.GetStatus() == failed && !h.accepts(marker):
		return outage, detail
	}
	return outcome(fmt.Sprintf("%s, restarted %t", status.GetStatus(), h.pid(t) != before)), detail
}

// recovers offers the good configuration and says whether it delivers. It does
// not wait for a verdict: one that repeats the last is not sent again. The limit
// leaves room for the five seconds that the supervisor waits before it starts a
// collector that fell.
func (h *host) recovers(t *testing.T) bool {
	t.Helper()
	h.fleet.offer(t, h.good().yaml(t))
	marker := fmt.Sprintf("good-%d", time.Now().UnixNano())
	return harness.Eventually(20*time.Second, func() bool { return h.delivers(marker, time.Second) })
}

func TestReadmeListsWhatTheSupervisorLetsThrough(t *testing.T) {
	var table strings.Builder
	table.WriteString("| offered | supervisor with `supervised` | supervisor alone |\n|---|---|---|\n")
	for _, b := range brokenConfigurations {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", b.name, b.launched, b.alone)
	}
	readme, err := os.ReadFile(filepath.Join(harness.Root(t), "configs", "opamp", "README.md"))
	require.NoError(t, err)
	assert.Contains(t, string(readme), table.String(), "the README must hold exactly this table")
}

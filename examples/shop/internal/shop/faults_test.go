// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/otlptest"
	"github.com/pitwall-io/pitwall/examples/shop/truth"
)

const (
	patience = time.Minute
	poll     = 50 * time.Millisecond
)

func testConfig(sink *otlptest.Sink) Config {
	config := Default()
	config.Endpoint = sink.Address
	config.Port = 0
	config.Load.Rate = 60
	config.BatchEvery = 50 * time.Millisecond
	config.MetricsEvery = 200 * time.Millisecond
	return config
}

// open starts a shop that sends its telemetry to a sink; both stop with the test.
func open(t *testing.T, change ...func(*Config)) (*Shop, *otlptest.Sink) {
	t.Helper()
	sink := otlptest.Start(t)
	config := testConfig(sink)
	for _, c := range change {
		c(&config)
	}
	s, err := Start(t.Context(), config, io.Discard)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		assert.NoError(t, s.Stop(ctx))
	})
	return s, sink
}

func enable(t *testing.T, s *Shop, arg string) {
	t.Helper()
	spec, params, err := fault.ParseFlag(arg)
	require.NoError(t, err)
	require.NoError(t, s.Faults().Enable(spec.Name, params))
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, poll, what)
}

func server(service string) func(otlptest.Span) bool {
	return func(s otlptest.Span) bool {
		return s.Service() == service && s.Kind == trace.Span_SPAN_KIND_SERVER
	}
}

func TestQuietShopServesWithoutErrors(t *testing.T) {
	s, sink := open(t)
	eventually(t, "an order went through all services in one trace", func() bool {
		for _, root := range sink.Spans(server("frontend")) {
			if root.Name != "POST /checkout/{user}" {
				continue
			}
			seen := map[string]bool{}
			for _, span := range sink.InTrace(root.Trace(), func(otlptest.Span) bool { return true }) {
				seen[span.Service()] = true
			}
			if len(seen) == 5 {
				return true
			}
		}
		return false
	})
	eventually(t, "metrics of every kind", func() bool {
		names := map[string]bool{}
		for _, p := range sink.Points(func(otlptest.Point) bool { return true }) {
			names[p.Service()+" "+p.Metric] = true
		}
		for _, want := range []string{
			"frontend http.server.request.duration", "frontend http.client.request.duration", "checkout rpc.server.call.duration",
			"checkout rpc.client.call.duration", "inventory db.client.operation.duration", "shop go.memory.used", "shop process.cpu.time",
			"cart k8s.container.cpu.request.desired", "frontend shop.page.views",
		} {
			if !names[want] {
				return false
			}
		}
		return true
	})
	assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return s.Failed() }))
	assert.Empty(t, sink.Logs(func(r otlptest.Record) bool { return r.SeverityText == "ERROR" }))
	assert.Zero(t, s.Counts().Failed)

	instances := map[any]any{}
	for _, span := range sink.Spans(func(otlptest.Span) bool { return true }) {
		assert.Equal(t, "shop", span.Resource["service.namespace"])
		assert.Equal(t, "demo", span.Resource["deployment.environment.name"])
		assert.Equal(t, versions[span.Service()], span.Resource["service.version"])
		if known, ok := instances[span.Service()]; ok {
			require.Equal(t, known, span.Resource["service.instance.id"])
		}
		instances[span.Service()] = span.Resource["service.instance.id"]
	}
	require.NotEmpty(t, instances["frontend"])
	assert.NotEqual(t, instances["frontend"], instances["cart"])
}

func TestErrorsFailTheRequestsOfTheService(t *testing.T) {
	for _, name := range []string{"frontend", "cart", "checkout", "payment", "inventory"} {
		t.Run(name, func(t *testing.T) {
			s, sink := open(t)
			enable(t, s, "errors="+name+":1")
			var failed otlptest.Span
			eventually(t, "a failed span with its log record", func() bool {
				for _, span := range sink.Spans(func(s otlptest.Span) bool { return server(name)(s) && s.Failed() }) {
					records := sink.Logs(func(r otlptest.Record) bool {
						return r.Service() == name && r.Trace() == span.Trace() && r.SeverityText == "ERROR" && bytes.Equal(r.SpanId, span.SpanId)
					})
					if len(records) == 1 && records[0].Attrs["error.type"] == "shop.FaultError" {
						failed = span
						return true
					}
				}
				return false
			})
			assert.Equal(t, "shop.FaultError", failed.Attrs["error.type"])
			if status, ok := failed.Attrs["http.response.status_code"]; ok {
				assert.Equal(t, int64(500), status)
			} else {
				assert.Equal(t, "INTERNAL", failed.Attrs["rpc.response.status_code"])
			}
			eventually(t, "error.type on the duration metric", func() bool {
				return len(sink.Points(func(p otlptest.Point) bool {
					return p.Service() == name && strings.HasSuffix(p.Metric, ".duration") && strings.Contains(p.Metric, ".server.") && p.Attrs["error.type"] != nil
				})) > 0
			})
			eventually(t, "visitors notice", func() bool { return s.Counts().Failed > 0 })
			for _, claim := range mustNotBurn(t, fault.Errors) {
				if claim == name {
					continue
				}
				assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return server(claim)(s) && s.Failed() }), "%s must stay well", claim)
			}
		})
	}
}

// mustNotBurn lists the services a truth file says cannot fail.
func mustNotBurn(t *testing.T, name string) []string {
	known, err := truth.Of(name)
	require.NoError(t, err)
	for _, claim := range known.MustNot {
		if claim.Kind == "optimization.slo.burn" && len(claim.Services) > 0 {
			return claim.Services
		}
	}
	return nil
}

func TestSlowDependencySlowsTheQueriesOnly(t *testing.T) {
	for _, name := range []string{"inventory", "cart"} {
		t.Run(name, func(t *testing.T) {
			s, sink := open(t, func(c *Config) { c.Load.Rate = 60 })
			enable(t, s, "slow-dependency="+name+":150ms")
			eventually(t, "a slow query inside a slow request", func() bool {
				for _, query := range sink.Spans(func(s otlptest.Span) bool { return s.Service() == name && s.Attrs["db.system.name"] == "sqlite" }) {
					if query.Seconds() < 0.15 {
						continue
					}
					parents := sink.InTrace(query.Trace(), func(s otlptest.Span) bool { return s.ID() == query.Parent() && s.Seconds() >= 0.15 })
					if len(parents) == 1 && parents[0].Service() == name {
						return true
					}
				}
				return false
			})
			eventually(t, "db.client.operation.duration shows it", func() bool {
				return len(sink.Points(func(p otlptest.Point) bool {
					return p.Service() == name && p.Metric == "db.client.operation.duration" && p.Count > 0 && p.Value >= 0.15
				})) > 0
			})
			assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return s.Failed() }))
		})
	}
}

func TestRetryStormRepeatsCallsToAnOverloadedCart(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "retry-storm=4:0.5")
	eventually(t, "a call repeated three times", func() bool {
		for _, last := range sink.Spans(func(s otlptest.Span) bool { return s.Attrs["http.request.resend_count"] == int64(3) }) {
			if last.Service() != "frontend" {
				continue
			}
			siblings := sink.InTrace(last.Trace(), func(s otlptest.Span) bool {
				return s.Parent() == last.Parent() && s.Kind == trace.Span_SPAN_KIND_CLIENT
			})
			if len(siblings) == 4 {
				return true
			}
		}
		return false
	})
	var refused []otlptest.Span
	eventually(t, "a refusal by the cart", func() bool { // its spans come by an export of their own
		refused = sink.Spans(func(s otlptest.Span) bool { return server("cart")(s) && s.Failed() })
		return len(refused) > 0
	})
	assert.Equal(t, int64(503), refused[0].Attrs["http.response.status_code"])
	assert.Equal(t, "overloaded", refused[0].Attrs["error.type"])
	assert.Empty(t, sink.Spans(func(s otlptest.Span) bool {
		return s.Service() == "checkout" && s.Attrs["http.request.resend_count"] != nil
	}))
	for _, name := range mustNotBurn(t, fault.RetryStorm) {
		assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return server(name)(s) && s.Failed() }), "%s must stay well", name)
	}
}

func TestNPlusOneIssuesAQueryForEveryProduct(t *testing.T) {
	s, sink := open(t)
	queriesOf := func(list otlptest.Span, summary string) int {
		return len(sink.InTrace(list.Trace(), func(s otlptest.Span) bool { return s.Parent() == list.ID() && s.Attrs["db.query.summary"] == summary }))
	}
	lists := func() []otlptest.Span {
		return sink.Spans(func(s otlptest.Span) bool { return server("inventory")(s) && s.Name == "GET /v1/products" })
	}
	eventually(t, "one query for a list when all is well", func() bool {
		for _, list := range lists() {
			if queriesOf(list, "SELECT products") == 1 {
				return assert.Zero(t, queriesOf(list, "SELECT stock"))
			}
		}
		return false
	})
	enable(t, s, "n-plus-one=12")
	eventually(t, "twelve queries more", func() bool {
		for _, list := range lists() {
			if queriesOf(list, "SELECT products") == 1 && queriesOf(list, "SELECT stock") == 12 {
				return true
			}
		}
		return false
	})
}

func TestMemoryLeakGrowsToItsLimitAndNoFurther(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "memory-leak=1:256")
	held := func(value float64) func() bool {
		return func() bool {
			points := sink.Points(func(p otlptest.Point) bool { return p.Metric == "shop.cache.size" && p.Service() == "cart" })
			return len(points) > 0 && points[len(points)-1].Value == value
		}
	}
	eventually(t, "the limit of 1 MB is reached", held(1<<20))
	for _, p := range sink.Points(func(p otlptest.Point) bool { return p.Metric == "shop.cache.size" }) {
		require.LessOrEqual(t, p.Value, float64(1<<20))
		require.Equal(t, "cart", p.Service())
	}
	require.NoError(t, s.Faults().Disable(fault.MemoryLeak))
	eventually(t, "what leaked is let go", held(0))
}

func TestCanaryIsASecondVersionWithARegression(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "canary=weight=40,error_rate=1,delay=30ms,version=9.9.9")
	canary := func(s otlptest.Span) bool { return server("checkout")(s) && s.Resource["service.version"] == "9.9.9" }
	eventually(t, "the canary fails", func() bool {
		return len(sink.Spans(func(s otlptest.Span) bool { return canary(s) && s.Failed() })) > 2
	})
	for _, span := range sink.Spans(canary) {
		assert.GreaterOrEqual(t, span.Seconds(), 0.03)
		assert.Equal(t, "shop.DiscountError", span.Attrs["error.type"])
	}
	stable := sink.Spans(func(s otlptest.Span) bool { return server("checkout")(s) && !canary(s) })
	require.NotEmpty(t, stable)
	for _, span := range stable {
		assert.False(t, span.Failed())
		assert.NotEqual(t, sink.Spans(canary)[0].Resource["service.instance.id"], span.Resource["service.instance.id"])
	}
	eventually(t, "the flag's evaluation stands in the trace of the canary's request", func() bool {
		for _, span := range sink.Spans(canary) {
			for _, event := range sink.Logs(func(r otlptest.Record) bool {
				return r.EventName == "feature_flag.evaluation" && r.Trace() == span.Trace()
			}) {
				return event.Service() == "frontend" && event.Attrs["feature_flag.key"] == "checkout-canary" &&
					event.Attrs["feature_flag.result.variant"] == "canary" && event.Attrs["feature_flag.result.reason"] == "split" &&
					event.Attrs["feature_flag.provider.name"] == "shop" && event.Attrs["feature_flag.context.id"] != ""
			}
		}
		return false
	})
	eventually(t, "the control is evaluated as well", func() bool {
		return len(sink.Logs(func(r otlptest.Record) bool { return r.Attrs["feature_flag.result.variant"] == "control" })) > 0
	})

	require.NoError(t, s.Faults().Disable(fault.Canary))
	sink.Forget()
	eventually(t, "orders go through without the canary", func() bool { return len(sink.Spans(server("checkout"))) > 3 })
	assert.Empty(t, sink.Spans(canary))

	enable(t, s, "canary=weight=40,version=9.9.10")
	eventually(t, "the canary can come back", func() bool {
		return len(sink.Spans(func(s otlptest.Span) bool { return s.Resource["service.version"] == "9.9.10" })) > 0
	})
}

func TestUnboundedLabelStopsAtItsLimit(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "unbounded-label=25")
	values := func() int {
		distinct := map[any]bool{}
		for _, p := range sink.Points(func(p otlptest.Point) bool { return p.Metric == "shop.page.views" && p.Attrs["session.id"] != nil }) {
			distinct[p.Attrs["session.id"]] = true
		}
		return len(distinct)
	}
	eventually(t, "the series multiply to the limit", func() bool { return values() == 25 })
	before := s.Counts().Requests
	eventually(t, "visitors come on", func() bool { return s.Counts().Requests > before+50 })
	assert.Equal(t, 25, values())
}

func TestIdleServiceHasResourcesAndNoRequests(t *testing.T) {
	s, sink := open(t)
	enable(t, s, "idle-service=3:2048")
	requested := func(metric string, value float64) func() bool {
		return func() bool {
			return len(sink.Points(func(p otlptest.Point) bool {
				return p.Service() == "recommender" && p.Metric == metric && p.Value == value
			})) > 0
		}
	}
	eventually(t, "its CPU", requested("k8s.container.cpu.request.desired", 3))
	eventually(t, "its memory", requested("k8s.container.memory.request.desired", 2048<<20))
	eventually(t, "the others get requests", func() bool { return s.Counts().Requests > 50 })
	assert.Empty(t, sink.Spans(func(s otlptest.Span) bool { return s.Service() == "recommender" }))
	assert.Empty(t, sink.Points(func(p otlptest.Point) bool {
		return p.Service() == "recommender" && strings.HasPrefix(p.Metric, "http.server.request")
	}))
}

func TestSwitchingIsWrittenToTheTruthJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "truth.jsonl")
	s, _ := open(t, func(c *Config) {
		c.TruthOut, c.NoLoad = file, true
		c.Faults = []string{"errors=payment:0.5"}
	})
	enable(t, s, "canary")
	require.NoError(t, s.Faults().Disable(fault.Errors))

	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var events []fault.Event
	for line := range strings.Lines(string(raw)) {
		var e fault.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		events = append(events, e)
	}
	require.Len(t, events, 3)
	assert.Equal(t, []string{"errors start", "canary start", "errors end"},
		[]string{events[0].Fault + " " + events[0].Event, events[1].Fault + " " + events[1].Event, events[2].Fault + " " + events[2].Event})
	assert.Equal(t, "payment", events[0].Service)
	assert.Equal(t, "optimization.slo.burn", events[0].Kind)
	assert.Nil(t, events[0].End)
	assert.Equal(t, "1.5.0", events[1].Version)
	require.NotNil(t, events[2].End)
	assert.False(t, events[2].End.Before(events[2].Start))
	assert.Equal(t, events[0].Start, events[2].Start)
}

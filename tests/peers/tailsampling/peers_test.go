// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"

	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	ours "github.com/pitwall-io/pitwall/processor/tailsamplingprocessor"
)

// peers are the two processors under the names that sub-tests and benchmarks go by.
var peers = []struct {
	name    string
	factory processor.Factory
}{
	{"contrib", contrib.NewFactory()},
	{"pitwall", ours.NewFactory()},
}

// scale is PITWALL_SCALE, 0.01 when unset.
func scale() float64 {
	if v, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64); err == nil && v > 0 {
		return v
	}
	return 0.01
}

// sink remembers which traces came out, and how many spans of each.
type sink struct {
	mu    sync.Mutex
	spans map[pcommon.TraceID]int
}

func (*sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (s *sink) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				s.spans[span.TraceID()]++
			}
		}
	}
	return nil
}

// create makes a processor from a configuration as a user writes it.
func create(t testing.TB, f processor.Factory, cfg map[string]any, next consumer.Traces) processor.Traces {
	c := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(cfg).Unmarshal(c))
	if v, ok := c.(interface{ Validate() error }); ok {
		require.NoError(t, v.Validate())
	}
	set := processortest.NewNopSettings(component.MustNewType("tail_sampling"))
	p, err := f.CreateTraces(t.Context(), set, c, next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	return p
}

// run feeds requests to a processor, has shutdown decide on what is there, and returns the spans of each trace kept.
func run(t testing.TB, f processor.Factory, cfg map[string]any, requests []ptrace.Traces) map[pcommon.TraceID]int {
	s := &sink{spans: make(map[pcommon.TraceID]int)}
	p := create(t, f, cfg, s)
	for _, r := range requests {
		require.NoError(t, p.ConsumeTraces(context.Background(), r))
	}
	require.NoError(t, p.Shutdown(context.Background()))
	return s.spans
}

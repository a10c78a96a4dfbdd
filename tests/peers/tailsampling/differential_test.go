// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

const fewestSets, allSets = 20, 400

// sets is how many policy sets a run compares.
func sets() int { return max(fewestSets, int(allSets*scale())) }

// count returns the number of traces in the requests.
func count(requests []ptrace.Traces) int {
	ids := make(map[pcommon.TraceID]struct{})
	for _, td := range requests {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					ids[span.TraceID()] = struct{}{}
				}
			}
		}
	}
	return len(ids)
}

// compare draws policy sets until enough of them split the traces, and holds the two processors against each other, trace by trace and
// span by span.
func compare(t *testing.T, seed uint64, withOT bool) {
	compared := 0
	for attempt := uint64(0); compared < sets(); attempt++ {
		require.Less(t, attempt, uint64(100*sets()), "hardly any policy set splits the traces")
		r := rand.New(rand.NewPCG(seed, attempt))
		cfg := policySet(r)
		requests := traffic(r, 300, withOT)
		traces := count(requests)
		want := run(t, peers[0].factory, cfg, requests)
		got := run(t, peers[1].factory, cfg, requests)
		text, err := json.Marshal(cfg)
		require.NoError(t, err)
		require.Empty(t, differences(want, got), "set %d: %s", attempt, text)
		if share := float64(len(want)) / float64(traces); share >= 0.05 && share <= 0.95 {
			compared++
		}
	}
	t.Logf("%d policy sets, each keeping between 5 and 95 %% of 300 traces: every decision is the same", compared)
}

// differences names up to three traces of which the two kept another number of spans.
func differences(want, got map[pcommon.TraceID]int) (found []string) {
	for _, m := range []map[pcommon.TraceID]int{want, got} {
		for id := range m {
			if want[id] != got[id] && len(found) < 3 {
				found = append(found, fmt.Sprintf("trace %v: %d spans, contrib %d", id, got[id], want[id]))
			}
		}
	}
	return found
}

func TestDecidesAsContribDoes(t *testing.T) {
	compare(t, 1, false)
}

func TestDecidesAsContribDoesByTraceState(t *testing.T) {
	const id = "processor.tailsamplingprocessor.usetracestate"
	require.NoError(t, featuregate.GlobalRegistry().Set(id, true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(id, false)) })
	compare(t, 2, true)
}

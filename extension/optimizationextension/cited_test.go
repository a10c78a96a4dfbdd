// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/signal"
)

func TestTracesThatSignalsNameAreCited(t *testing.T) {
	e, _ := start(t, nil, nil)
	now := t0
	e.clock = func() time.Time { return now }
	s := envelope(1, signal.StateFiring)
	s.Evidence.Exemplars = []signal.Exemplar{{TraceID: "0102030405060708090a0b0c0d0e0f10"}}
	_, err := e.PublishSignal(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, [][16]byte{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}, e.CitedTraces(t0))
	assert.Empty(t, e.CitedTraces(t0.Add(time.Second)), "not again")
}

func TestCitationsAreBoundedAndWellFormed(t *testing.T) {
	var c citations
	for n := range 3 * maxCitations {
		e := envelope(n, signal.StateFiring)
		e.Evidence.Exemplars = []signal.Exemplar{{TraceID: fmt.Sprintf("%032x", n+1)}, {TraceID: "short"}, {TraceID: fmt.Sprintf("%064x", n)}, {TraceID: "zz02030405060708090a0b0c0d0e0f10"}}
		c.add(&e, t0)
	}
	ids := c.since(t0)
	assert.LessOrEqual(t, len(ids), maxCitations)
	assert.Equal(t, byte(3*maxCitations>>8), ids[len(ids)-1][14])
}

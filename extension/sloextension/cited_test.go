// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func TestTracesThatAnAlertWouldNameAreCited(t *testing.T) {
	x := newTest(t, false, nil)
	now := time.Now()
	tally := x.engine.NewTally()
	at := now.UnixNano()
	entry := tally.Entry(0, nil)
	entry.Add(tally.Slice(at), at, true, slo.One)
	entry.AddExemplar(at, slo.TraceID{1})
	tally.Observe(1, at)
	x.Commit(t.Context(), tally, now)
	assert.Equal(t, [][16]byte{{1}}, x.CitedTraces(now))
	assert.Empty(t, x.CitedTraces(now.Add(time.Second)))
}

// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatAlertsNameIsCited(t *testing.T) {
	e := testEngine(t, Demo())
	feed(e, 20, steady(epoch, time.Minute, 100*time.Millisecond, 0, 1)...)
	assert.Empty(t, e.Cited(epoch), "nothing was bad")
	feed(e, 20, steady(epoch.Add(time.Minute), time.Minute, 100*time.Millisecond, 1, 2)...)
	ts := e.TakeTransitions()
	require.NotEmpty(t, ts)
	cited := e.Cited(epoch)
	for _, id := range ts[0].Exemplars {
		assert.Contains(t, cited, id, "an alert named it")
	}
	newest := e.objectives[0].groups[""].exemplars.recent(0, AlertExemplars)
	require.Len(t, newest, AlertExemplars)
	for _, id := range newest {
		assert.Contains(t, cited, id, "an alert would name it")
	}
	assert.Empty(t, e.Cited(epoch.Add(3*time.Minute)), "nothing new since")
}

func TestCitationsAreBounded(t *testing.T) {
	e := testEngine(t, Demo())
	for n := range 5 * maxCitations {
		e.citeLocked([]TraceID{{byte(n >> 8), byte(n), 1}})
	}
	assert.LessOrEqual(t, len(e.Cited(epoch.Add(-1000*Day))), maxCitations)
	assert.Equal(t, TraceID{byte((5*maxCitations - 1) >> 8), byte(5*maxCitations - 1 - (5*maxCitations-1)>>8<<8), 1}, e.citations[len(e.citations)-1].id)
}

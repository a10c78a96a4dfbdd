// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// spells is telemetry for five minutes of every quarter of an hour, with a share of bad events.
func spells(from time.Time, n, badOf int) (out []event) {
	for i := range n {
		out = append(out, steady(from.Add(time.Duration(i)*15*time.Minute), 5*time.Minute, time.Second, badOf, 20)...)
	}
	return out
}

func firings(e *Engine) (n int) {
	for _, tr := range e.TakeTransitions() {
		if tr.Firing {
			n++
		}
	}
	return n
}

func TestWhatWasAlwaysBadIsNoNews(t *testing.T) {
	objective := testObjective("o")
	objective.Window = Duration(Day)
	e := testEngine(t, Demo(), objective)
	feed(e, 10, spells(epoch, 4, 3)...) // 15 % bad where 6 % alert
	assert.Positive(t, firings(e), "as long as it is not known to be usual it is worth an alert")
	at := epoch.Add(time.Hour)
	feed(e, 10, spells(at, 8, 3)...)
	assert.LessOrEqual(t, firings(e), 1, "from then on it is not")
	at = at.Add(2 * time.Hour)
	feed(e, 10, spells(at, 1, 12)...)
	assert.Equal(t, 1, firings(e), "what is worse than usual still is")
}

func TestAnOutageDoesNotHideTheNext(t *testing.T) {
	objective := testObjective("o")
	objective.Window = Duration(Day)
	e := testEngine(t, Demo(), objective)
	feed(e, 100, steady(epoch, 8*time.Hour, time.Second, 0, 20)...)
	feed(e, 100, steady(epoch.Add(8*time.Hour), 6*time.Hour, time.Second, 20, 20)...)
	feed(e, 100, steady(epoch.Add(14*time.Hour), time.Hour, time.Second, 0, 20)...)
	assert.Equal(t, 1, firings(e), "six hours without a success")
	feed(e, 10, steady(epoch.Add(15*time.Hour), 5*time.Minute, time.Second, 2, 20)...)
	assert.Equal(t, 1, firings(e), "and then 10 %")
}

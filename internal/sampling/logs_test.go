// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func chunkOf(n uint64) LogChunk { return LogChunk{Trace: idOf(n), Data: make([]byte, 100), Records: 1} }

// fatesOf takes what is settled and counts records by fate, and those with data.
func fatesOf(l *Logs) (fates map[LogFate]int, withData int) {
	settled := l.Settled()
	l.Sent(len(settled))
	fates = make(map[LogFate]int)
	for _, s := range settled {
		fates[s.Fate] += s.Records
		if s.Data != nil {
			withData += s.Records
		}
	}
	return fates, withData
}

// logHarness is an engine and the logs that follow it.
func logHarness(t *testing.T, settings LogSettings, policies ...Policy) (*harness, *Logs) {
	decisions := NewDecisions(10_000, 100)
	if settings.MemoryLimit == 0 {
		settings.MemoryLimit = 1 << 20
	}
	if settings.Wait == 0 {
		settings.Wait = time.Minute
	}
	logs := NewLogs(settings, decisions)
	return newHarness(t, Settings{DecisionWait: time.Second, Decisions: decisions, Logs: logs}, policies...), logs
}

func TestLogsGoTheWayOfTheirTrace(t *testing.T) {
	h, logs := logHarness(t, LogSettings{}, errs)
	// Logs may come before the spans, with them, and after the decision.
	for n := range uint64(10) {
		logs.Add(chunkOf(n), 9, h.now)
		h.add(testSpan{id: idOf(n), failed: n < 3})
		logs.Add(chunkOf(n), 9, h.now)
	}
	assert.Empty(t, logs.Settled(), "all wait")
	h.advance(2 * time.Second)
	for n := range uint64(10) {
		logs.Add(chunkOf(n), 9, h.now)
	}
	fates, withData := fatesOf(logs)
	assert.Equal(t, map[LogFate]int{LogKept: 9, LogDropped: 21}, fates)
	assert.Equal(t, 9, withData, "what is dropped takes no memory")
	assert.Zero(t, logs.Bytes())
}

func TestLogsWithoutADecisionDoNotWaitForEver(t *testing.T) {
	for _, keep := range []bool{true, false} {
		logs := NewLogs(LogSettings{MemoryLimit: 1 << 20, Wait: time.Minute, KeepUndecided: keep}, NewDecisions(100, 10))
		logs.Add(chunkOf(1), 9, origin)
		logs.Add(chunkOf(2), 9, origin.Add(30*time.Second))
		logs.Expire(origin.Add(59*time.Second), false)
		assert.Empty(t, logs.Settled())
		logs.Expire(origin.Add(time.Minute), false)
		fates, withData := fatesOf(logs)
		assert.Equal(t, map[LogFate]int{LogUndecided: 1}, fates)
		assert.Equal(t, keep, withData == 1)
		logs.Expire(origin, true)
		fates, _ = fatesOf(logs)
		assert.Equal(t, map[LogFate]int{LogUndecided: 1}, fates)
		assert.Zero(t, logs.Bytes())
	}
}

func TestLogsStayWithinTheirMemory(t *testing.T) {
	const limit = 100_000
	logs := NewLogs(LogSettings{MemoryLimit: limit, Wait: time.Minute}, NewDecisions(100, 10))
	total := 0
	for n := range uint64(20_000) {
		logs.Add(chunkOf(n%5000), 9, origin)
		require.LessOrEqual(t, logs.Bytes(), int64(limit+10_000))
		if n%1000 == 999 {
			fates, withData := fatesOf(logs)
			total += fates[LogOverflow]
			assert.Zero(t, withData)
		}
	}
	assert.Positive(t, total)
	assert.False(t, logs.Full())
	logs.Expire(origin, true)
	fates, _ := fatesOf(logs)
	assert.Equal(t, 20_000, total+fates[LogUndecided]+fates[LogOverflow], "every record is accounted for")
}

func TestKeptLogsThatNobodyTakesFillUp(t *testing.T) {
	logs := NewLogs(LogSettings{MemoryLimit: 10_000, Wait: time.Minute, KeepUndecided: true}, NewDecisions(100, 10))
	for n := range uint64(1000) {
		logs.Add(chunkOf(n), 9, origin)
	}
	assert.True(t, logs.Full(), "senders must wait")
	fatesOf(logs)
	assert.False(t, logs.Full())
}

func TestALogOfAnErrorCanKeepATrace(t *testing.T) {
	h, logs := logHarness(t, LogSettings{}, Policy{Name: "logs", Kind: KindLogSeverity})
	for n, severity := range []uint8{9, 17, 21} {
		h.add(testSpan{id: idOf(uint64(n))})
		logs.Add(chunkOf(uint64(n)), severity, h.now)
	}
	h.add(testSpan{id: idOf(9)})
	h.advance(2 * time.Second)
	kept := h.kept()
	assert.Len(t, kept, 2)
	assert.Contains(t, kept, idOf(1))
	assert.Contains(t, kept, idOf(2))
}

func TestEnginesThatShareDecisionsAgree(t *testing.T) {
	decisions := NewDecisions(100_000, 1000)
	settings := Settings{DecisionWait: time.Second, Decisions: decisions}
	first, second := newHarness(t, settings, percent(30)), newHarness(t, settings, percent(60))
	for n := range uint64(1000) {
		first.add(testSpan{id: idOf(n)})
		second.add(testSpan{id: idOf(n)})
	}
	first.advance(2 * time.Second)
	second.advance(2 * time.Second)
	one, two := first.kept(), second.kept()
	assert.InDelta(t, 300, len(one), 60)
	require.Len(t, two, len(one), "the second follows the first, whatever its policies")
	for id, k := range one {
		assert.Equal(t, k.Chance, two[id].Chance)
		assert.Equal(t, k.Random, two[id].Random)
	}
	third := newHarness(t, settings, percent(60))
	third.add(testSpan{id: idOf(1)}, testSpan{id: idOf(2)})
	assert.Zero(t, third.engine.Len(), "late spans follow it too")
}

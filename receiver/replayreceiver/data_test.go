// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

// signalOfName tells the signal of a fixture from its name.
func signalOfName(name string) signal {
	switch {
	case strings.HasPrefix(name, "metric"):
		return signalMetrics
	case strings.HasPrefix(name, "log"):
		return signalLogs
	default:
		return signalTraces
	}
}

func TestHostileRequestsPassOrAreCountedAndChangeNothingAfterThem(t *testing.T) {
	dir := recordings.Path(t, "fixtures", "otlp-badinput")
	fixtures, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, fixtures, 40)

	for _, rebase := range []string{rebaseOff, "2031-05-06T07:08:09Z"} {
		alone := testdataConfig()
		alone.Rebase = rebase
		good := newStage(t, alone, signalTraces, signalMetrics, signalLogs).toTheEnd()
		refused := map[string]int64{}
		for _, path := range fixtures {
			hostile := strings.TrimRight(read(t, path), "\n")
			s := signalOfName(filepath.Base(path))
			cfg := testdataConfig()
			cfg.Rebase = rebase
			// The hostile request stands in front of the good ones of its signal.
			before := map[signal]*[]string{signalTraces: &cfg.Traces, signalMetrics: &cfg.Metrics, signalLogs: &cfg.Logs}[s]
			*before = []string{write(t, "h.jsonl", hostile+"\n"+read(t, (*before)[0]))}
			st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
			calls := st.toTheEnd()
			st.balanced()
			skips := st.counter("otelcol_receiver_replay_records_skipped", "reason")
			for why, n := range skips {
				refused[why] += n
			}
			if len(skips) == 0 {
				require.Len(t, calls, len(good)+1, path)
				calls = without(calls, s)
			}
			if rebase == rebaseOff || s != signalMetrics { // of two points that disagree, the earlier begins the recording
				assert.Equal(t, dataOfCalls(good), dataOfCalls(calls), path)
			}
		}
		assert.Equal(t, map[string]int64{"broken_record": 6, "empty_record": 2}, refused)
	}
}

// without returns the calls without the first of one signal.
func without(calls []call, s signal) (rest []call) {
	dropped := false
	for _, c := range calls {
		if c.signal == s && !dropped {
			dropped = true
			continue
		}
		rest = append(rest, c)
	}
	return rest
}

func dataOfCalls(calls []call) (data []string) {
	for _, c := range calls {
		data = append(data, c.data)
	}
	return data
}

func TestAllHostileRequestsInOneFileOfEachSignal(t *testing.T) {
	dir := recordings.Path(t, "fixtures", "otlp-badinput")
	for _, format := range []string{"t.jsonl", "t.pb"} {
		cfg := testConfig()
		for _, s := range signals {
			var all strings.Builder
			fixtures, err := filepath.Glob(filepath.Join(dir, strings.TrimSuffix(s.String(), "s")+"*.jsonl"))
			require.NoError(t, err)
			for _, path := range fixtures {
				one := read(t, path)
				if format == "t.pb" {
					all.WriteString(string([]byte{0, byte(len(one) >> 16), byte(len(one) >> 8), byte(len(one))}))
				}
				all.WriteString(one)
				if !strings.HasSuffix(one, "\n") && format == "t.jsonl" {
					all.WriteByte('\n')
				}
			}
			path := write(t, format, all.String())
			switch s {
			case signalTraces:
				cfg.Traces = []string{path}
			case signalMetrics:
				cfg.Metrics = []string{path}
			case signalLogs:
				cfg.Logs = []string{path}
			}
		}
		for _, rebase := range []string{rebaseOff, rebaseNow, "2001-01-01T00:00:00Z"} {
			cfg.Rebase = rebase
			st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
			assert.Len(t, st.toTheEnd(), 32)
			st.balanced()
		}
	}
}

func TestTrainTicketIsPlayedWholeInOrderAndTheSameEachTime(t *testing.T) {
	if testing.Short() {
		t.Skip("plays 284 MB twice")
	}
	dir := recordings.Path(t, "trainticket")
	play := func(decoders, readAhead int) ([]call, map[string]int64) {
		cfg := testConfig()
		cfg.Rebase = "2031-05-06T07:08:09Z"
		cfg.Traces = []string{filepath.Join(dir, "traces.jsonl.gz")}
		cfg.Metrics = []string{filepath.Join(dir, "metrics.jsonl.gz")}
		cfg.Logs = []string{filepath.Join(dir, "logs.jsonl.gz")}
		cfg.Decoders = decoders
		cfg.ReadAheadBytes = readAhead
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.digest = true
		calls := st.toTheEnd()
		st.balanced()
		assert.Empty(t, st.counter("otelcol_receiver_replay_records_skipped", "reason"))
		return calls, st.counter("otelcol_receiver_replay_items_emitted", "signal")
	}
	first, items := play(2, 32<<20)
	assert.Equal(t, map[string]int64{"traces": 328_848, "metrics": 282_738, "logs": 172_722}, items)
	assert.Len(t, first, 225+2660+84)
	again, _ := play(5, 1)
	require.Len(t, again, len(first))
	for i := range first {
		require.Equal(t, first[i].signal, again[i].signal, "call %d", i)
		require.Equal(t, first[i].data, again[i].data, "call %d", i)
	}
}

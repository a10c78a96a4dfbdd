// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// recordingStart is the first event of the recording in testdata.
var recordingStart = time.Unix(1_700_000_000, 0)

// testdataConfig plays the recording in testdata: events at 0s (span), 20s (point), 20s (log), 60s (span) and 90s (log).
func testdataConfig() *Config {
	cfg := testConfig()
	cfg.Traces = []string{"testdata/traces.jsonl"}
	cfg.Metrics = []string{"testdata/metrics.jsonl"}
	cfg.Logs = []string{"testdata/logs.jsonl"}
	return cfg
}

// offsets returns when each call came, after the first moment of the bubble.
func offsets(calls []call, from time.Time) (at []time.Duration) {
	for _, c := range calls {
		at = append(at, c.at.Sub(from))
	}
	return at
}

func signalsOf(calls []call) (order []signal) {
	for _, c := range calls {
		order = append(order, c.signal)
	}
	return order
}

func TestSignalsAreMergedInEventOrder(t *testing.T) {
	for range 20 {
		st := newStage(t, testdataConfig(), signalLogs, signalMetrics, signalTraces)
		calls := st.toTheEnd()
		assert.Equal(t, []signal{signalTraces, signalMetrics, signalLogs, signalTraces, signalLogs}, signalsOf(calls))
	}
}

func TestSpeedSetsThePace(t *testing.T) {
	for _, tc := range []struct {
		speed float64
		want  []time.Duration
	}{
		{0, []time.Duration{0, 0, 0, 0, 0}},
		{1, []time.Duration{0, 20 * time.Second, 20 * time.Second, 60 * time.Second, 90 * time.Second}},
		{60, []time.Duration{0, time.Second / 3, time.Second / 3, time.Second, 1500 * time.Millisecond}},
		{0.5, []time.Duration{0, 40 * time.Second, 40 * time.Second, 120 * time.Second, 180 * time.Second}},
	} {
		t.Run(fmt.Sprint(tc.speed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := testdataConfig()
				cfg.Speed = tc.speed
				begin := time.Now()
				calls := newStage(t, cfg, signalTraces, signalMetrics, signalLogs).toTheEnd()
				got := offsets(calls, begin)
				require.Len(t, got, len(tc.want))
				for i := range got {
					assert.InDelta(t, tc.want[i], got[i], float64(time.Microsecond))
				}
			})
		})
	}
}

func TestStartAfterDelaysTheFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.StartAfter = 7 * time.Minute
		begin := time.Now()
		st := newStage(t, cfg, signalTraces)
		st.start()
		time.Sleep(7*time.Minute - 1)
		synctest.Wait()
		assert.Empty(t, st.received())
		<-st.over
		assert.Equal(t, []time.Duration{7 * time.Minute, 7 * time.Minute}, offsets(st.received(), begin))
		st.stop()
	})
}

// shifted returns a request of the recording in testdata with every timestamp moved, as text.
func shifted(line string, by time.Duration) string {
	const digits = len("1700000000000000000")
	var out strings.Builder
	for {
		i := strings.Index(line, `UnixNano":"1`)
		if i < 0 {
			return out.String() + line
		}
		i += len(`UnixNano":"`)
		var ts int64
		_, err := fmt.Sscan(line[i:i+digits], &ts)
		if err != nil {
			panic(err)
		}
		out.WriteString(line[:i])
		fmt.Fprint(&out, ts+int64(by))
		line = line[i+digits:]
	}
}

func TestRebaseMovesEveryTimestampOfAllSignalsByOneConstant(t *testing.T) {
	all := []signal{signalTraces, signalMetrics, signalLogs}
	plain := newStage(t, testdataConfig(), all...).toTheEnd()
	require.Len(t, plain, 5)
	require.Contains(t, plain[0].data, `"timeUnixNano":"1700000000100000000"`, "a span event")
	require.Contains(t, plain[1].data, `"timeUnixNano":"1700000019000000000"`, "an exemplar")
	require.Contains(t, plain[1].data, `"startTimeUnixNano":"1699999990000000000"`, "the start of a data point")

	for _, tc := range []struct {
		rebase string
		target func() time.Time
	}{
		{"off", func() time.Time { return recordingStart }},
		{"now", time.Now},
		{"2031-05-06T07:08:09.5Z", func() time.Time { return time.Date(2031, 5, 6, 7, 8, 9, 500_000_000, time.UTC) }},
		{"2001-05-06T07:08:09+02:00", func() time.Time { return time.Date(2001, 5, 6, 5, 8, 9, 0, time.UTC) }},
	} {
		t.Run(tc.rebase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := testdataConfig()
				cfg.Rebase = tc.rebase
				by := tc.target().Sub(recordingStart)
				moved := newStage(t, cfg, all...).toTheEnd()
				require.Len(t, moved, len(plain))
				for i := range plain {
					assert.Equal(t, shifted(plain[i].data, by), moved[i].data)
				}
			})
		})
	}
}

func TestRebaseNowIsTheMomentPlayingBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Rebase = rebaseNow
		cfg.StartAfter = time.Hour
		begin := time.Now().Add(time.Hour)
		calls := newStage(t, cfg, signalTraces).toTheEnd()
		assert.Contains(t, calls[0].data, fmt.Sprintf(`"startTimeUnixNano":"%d"`, begin.UnixNano()))
	})
}

func TestLoopPlaysAgainAndTimeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Speed = 1
		cfg.Loop = true
		cfg.Rebase = "2031-05-06T07:08:09Z"
		begin := time.Now()
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.start()
		// The last event is at 90s; the next pass begins one second after it.
		time.Sleep(91*time.Second + 20*time.Second + time.Millisecond)
		synctest.Wait()
		calls := st.received()
		require.Len(t, calls, 8)
		assert.Equal(t, []time.Duration{91 * time.Second, 111 * time.Second, 111 * time.Second}, offsets(calls[5:], begin))
		for i := range 3 {
			assert.Equal(t, shifted(calls[i].data, 91*time.Second), calls[5+i].data)
		}
		st.stop()
	})
}

func TestLoopWithoutRebaseRepeatsTheTimestampsAndKeepsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Speed = 1
		cfg.Loop = true
		begin := time.Now()
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.start()
		time.Sleep(2*91*time.Second + time.Millisecond)
		synctest.Wait()
		calls := st.received()
		require.Len(t, calls, 11)
		assert.Equal(t, calls[0].data, calls[5].data)
		assert.Equal(t, calls[0].data, calls[10].data)
		assert.Equal(t, 2*91*time.Second, calls[10].at.Sub(begin))
		st.stop()
	})
}

func TestLoopOverNothingPlayableEnds(t *testing.T) {
	cfg := testConfig()
	cfg.Loop = true
	cfg.Traces = []string{write(t, "t.jsonl", "{}\n<xml/>\n")}
	st := newStage(t, cfg, signalTraces)
	assert.Empty(t, st.toTheEnd())
	last := st.status()[0]
	assert.Equal(t, componentstatus.StatusPermanentError, last.Status())
	assert.ErrorIs(t, last.Err(), errNothingPlayed)
}

func TestEndOfTheRecordingIsReportedOnceToEachReceiver(t *testing.T) {
	st := newStage(t, testdataConfig(), signalTraces, signalMetrics, signalLogs)
	st.play()
	assert.InDelta(t, 1, st.gauge("otelcol_receiver_replay_progress"), 0)
	events := st.status()
	require.Len(t, events, 3)
	for _, ev := range events {
		assert.Equal(t, componentstatus.StatusOK, ev.Status())
		assert.Equal(t, map[string]any{
			"replay.state": "finished", "replay.spans": int64(2), "replay.data_points": int64(1), "replay.log_records": int64(2),
			"replay.refused_items": int64(0), "replay.skipped_records": int64(0),
		}, ev.Attributes().AsRaw())
	}
	assert.Equal(t, 1, st.logs.FilterMessage("The recording was played to its end").Len())
	st.stop()
}

func TestBackPressureHoldsTheRecordingAndTheSameRequestIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		begin := time.Now()
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.answer = func(_ context.Context, _ signal, nth int) error {
			if nth < 3 {
				return errors.New("not now")
			}
			return nil
		}
		calls := st.toTheEnd()
		require.Len(t, calls, 8)
		assert.Equal(t, []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}, offsets(calls[:4], begin))
		for _, again := range calls[1:4] {
			assert.Equal(t, calls[0].data, again.data)
		}
		assert.Equal(t, map[string]int64{"traces": 3}, st.counter("otelcol_receiver_replay_retries", "signal"))
		assert.Equal(t, map[string]int64{"traces": 2, "metrics": 1, "logs": 2}, st.counter("otelcol_receiver_replay_items_emitted", "signal"))
	})
}

func TestWhatAPipelineChangedBeforeItRefusedIsOfferedAsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Rebase = "2031-05-06T07:08:09Z"
		st := newStage(t, cfg, signalTraces)
		st.spoil = true
		st.answer = func(_ context.Context, _ signal, nth int) error {
			if nth == 0 {
				return errors.New("not now")
			}
			return nil
		}
		calls := st.toTheEnd()
		require.Len(t, calls, 3)
		assert.Equal(t, calls[0].data, calls[1].data)
		assert.Equal(t, map[string]int64{"traces": 2}, st.counter("otelcol_receiver_replay_items_emitted", "signal"))
	})
}

func TestLastingRefusalShowsInTheStatusAndRecovers(t *testing.T) {
	refuse := errors.New("queue is full")
	for name, last := range map[string]error{"taken": nil, "dropped": consumererror.NewPermanent(refuse)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, testdataConfig(), signalTraces)
				st.answer = func(_ context.Context, _ signal, nth int) error {
					switch {
					case nth < 10:
						return refuse
					case nth == 10:
						return last
					}
					return nil
				}
				st.toTheEnd()
				events := st.status()
				require.Len(t, events, 3)
				assert.Equal(t, componentstatus.StatusRecoverableError, events[0].Status())
				assert.Equal(t, refuse, events[0].Err())
				assert.Equal(t, componentstatus.StatusOK, events[1].Status())
				assert.Zero(t, events[1].Attributes().Len(), "recovered, not finished")
			})
		})
	}
}

func TestPermanentRefusalIsDroppedAndCounted(t *testing.T) {
	st := newStage(t, testdataConfig(), signalTraces, signalMetrics, signalLogs)
	st.answer = func(_ context.Context, s signal, _ int) error {
		if s == signalLogs {
			return consumererror.NewPermanent(errors.New("no logs here"))
		}
		return nil
	}
	assert.Len(t, st.toTheEnd(), 5)
	assert.Equal(t, map[string]int64{"logs": 2}, st.counter("otelcol_receiver_replay_records_refused", "signal"))
	assert.Equal(t, map[string]int64{"logs": 2}, st.counter("otelcol_receiver_replay_items_refused", "signal"))
	assert.Equal(t, map[string]int64{"traces": 2, "metrics": 1}, st.counter("otelcol_receiver_replay_records_emitted", "signal"))
	st.balanced()
}

func TestOnlyTheFailedPartIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Traces = []string{"testdata/traces.jsonl"}
		cfg.Metrics = []string{"testdata/metrics.jsonl"}
		cfg.Logs = []string{"testdata/logs.jsonl"}
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		two := generated(0, 2)
		st.answer = func(_ context.Context, _ signal, nth int) error {
			switch nth {
			case 0:
				return consumererror.NewTraces(errors.New("some failed"), two)
			case 2:
				return consumererror.NewMetrics(errors.New("all failed"), pmetric.NewMetrics())
			case 4:
				return consumererror.NewLogs(errors.New("all failed"), plog.NewLogs())
			}
			return nil
		}
		calls := st.toTheEnd()
		require.Len(t, calls, 8)
		want, err := (&ptrace.JSONMarshaler{}).MarshalTraces(two)
		require.NoError(t, err)
		assert.Equal(t, string(want), calls[1].data)
	})
}

// defects are files of traces with something wrong in front of, between or after two good requests.
func defects(t *testing.T) map[reason]string {
	t.Helper()
	first, second := testdataLines(t, "traces.jsonl")
	log, _ := testdataLines(t, "logs.jsonl")
	return map[reason]string{
		reasonBrokenRecord:  first + "\n" + `{"resourceSpans":[{"scopeSpans":7}]}` + "\n" + second + "\n",
		reasonEmptyRecord:   first + "\n{}\n" + second + "\n",
		reasonWrongSignal:   first + "\n" + log + "\n" + second + "\n",
		reasonTruncatedFile: first + "\n" + second + "\n" + second[:len(second)/2],
		reasonRecordTooLong: first + "\n" + `{"resourceSpans":"` + strings.Repeat("x", 5000) + `"}` + "\n" + second + "\n",
	}
}

func testdataLines(t *testing.T, name string) (first, second string) {
	t.Helper()
	lines := strings.Split(read(t, filepath.Join("testdata", name)), "\n")
	return lines[0], lines[1]
}

func TestDefectsAreSkippedCountedAndNamed(t *testing.T) {
	good := newStage(t, func() *Config {
		cfg := testConfig()
		cfg.Traces = []string{"testdata/traces.jsonl"}
		return cfg
	}(), signalTraces).toTheEnd()
	for why, content := range defects(t) {
		t.Run(string(why), func(t *testing.T) {
			cfg := testConfig()
			cfg.MaxRecordBytes = 4096
			path := write(t, "t.jsonl", content)
			cfg.Traces = []string{path}
			st := newStage(t, cfg, signalTraces)
			calls := st.toTheEnd()
			require.Len(t, calls, 2)
			assert.Equal(t, []string{good[0].data, good[1].data}, []string{calls[0].data, calls[1].data})
			assert.Equal(t, map[string]int64{string(why): 1}, st.counter("otelcol_receiver_replay_records_skipped", "reason"))
			st.balanced()

			lines := st.logs.FilterMessage("Part of the recording is skipped").All()
			require.Len(t, lines, 1)
			fields := lines[0].ContextMap()
			assert.Equal(t, path, fields["file"])
			line := "line 2: "
			if why == reasonTruncatedFile {
				line = "line 3: "
			}
			assert.Contains(t, fields["error"], line)
		})
	}
}

func TestDefectsAreFatalWhenAskedFor(t *testing.T) {
	for why, content := range defects(t) {
		t.Run(string(why), func(t *testing.T) {
			cfg := testConfig()
			cfg.MaxRecordBytes = 4096
			cfg.OnError = OnErrorFatal
			path := write(t, "t.jsonl", content)
			cfg.Traces = []string{path}
			st := newStage(t, cfg, signalTraces)
			st.toTheEnd()
			last := st.status()[0]
			require.Equal(t, componentstatus.StatusFatalError, last.Status())
			require.ErrorContains(t, last.Err(), path)
			assert.Equal(t, why, reasonOf(last.Err()))
			assert.Equal(t, map[string]int64{string(why): 1}, st.counter("otelcol_receiver_replay_records_skipped", "reason"))
		})
	}
}

func TestTimestampsBefore1970ArePlayedAsUnknown(t *testing.T) {
	const zeroTime = "-6795364578871345152"
	first, second := testdataLines(t, "logs.jsonl")
	for name, negative := range map[string]string{"text": `"` + zeroTime + `"`, "number": zeroTime} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			broken := strings.ReplaceAll(first, `"1700000020000000000"`, negative)
			broken = strings.ReplaceAll(broken, "order placed", `say \"timeUnixNano\":\"-5\"`)
			cfg.Logs = []string{write(t, "l.jsonl", broken+"\n"+second+"\n")}
			st := newStage(t, cfg, signalLogs)
			calls := st.toTheEnd()
			require.Len(t, calls, 2)
			assert.NotContains(t, calls[0].data, `"timeUnixNano":"1`)
			assert.Contains(t, calls[0].data, `"observedTimeUnixNano":"1700000021000000000"`)
			assert.Contains(t, calls[0].data, `say \"timeUnixNano\":\"-5\"`, "text is left alone")
			assert.Equal(t, map[string]int64{"logs": 1}, st.counter("otelcol_receiver_replay_timestamps_repaired", "signal"))
			st.balancedSkips(map[string]int64{})

			cfg.OnError = OnErrorFatal
			strict := newStage(t, cfg, signalLogs)
			assert.Empty(t, strict.toTheEnd())
			require.ErrorIs(t, strict.status()[0].Err(), errNegative)
			require.ErrorContains(t, strict.status()[0].Err(), "line 1: ")
			strict.balancedSkips(map[string]int64{"broken_record": 1})
		})
	}
}

func TestTheLogNamesTenDefectsOfAKindAndTheCountersAll(t *testing.T) {
	cfg := testConfig()
	first, _ := testdataLines(t, "traces.jsonl")
	cfg.Traces = []string{write(t, "t.jsonl", strings.Repeat("{}\n", 500)+first)}
	st := newStage(t, cfg, signalTraces)
	assert.Len(t, st.toTheEnd(), 1)
	assert.Equal(t, linesPerReason, st.logs.FilterMessage("Part of the recording is skipped").Len())
	assert.Equal(t, map[string]int64{"empty_record": 500}, st.counter("otelcol_receiver_replay_records_skipped", "reason"))
	st.balanced()
}

func TestSignalWithoutPipelineIsAnExplicitSkip(t *testing.T) {
	st := newStage(t, testdataConfig(), signalTraces)
	assert.Equal(t, []signal{signalTraces, signalTraces}, signalsOf(st.toTheEnd()))
	assert.Equal(t, map[string]int64{"metrics": 1, "logs": 1}, st.counter("otelcol_receiver_replay_files_skipped", "signal"))
	assert.Equal(t, map[string]int64{"no_pipeline": 2}, st.counter("otelcol_receiver_replay_files_skipped", "reason"))
	assert.Equal(t, 2, st.logs.FilterMessageSnippet("no pipeline of their signal").Len())
}

func TestPipelineWithoutFilesIsSaidAndPlaysTheRest(t *testing.T) {
	cfg := testConfig()
	cfg.Traces = []string{"testdata/traces.jsonl"}
	st := newStage(t, cfg, signalTraces, signalLogs)
	assert.Len(t, st.toTheEnd(), 2)
	assert.Equal(t, 1, st.logs.FilterMessageSnippet("no files").Len())
}

func TestNothingToPlayIsAPermanentError(t *testing.T) {
	cfg := testConfig()
	cfg.Traces = []string{"testdata/traces.jsonl"}
	st := newStage(t, cfg, signalLogs)
	assert.Empty(t, st.toTheEnd())
	assert.ErrorIs(t, st.status()[0].Err(), errNothingToPlay)
}

func TestStartFailsWhereNoFileMatches(t *testing.T) {
	for name, pattern := range map[string]string{"pattern": "testdata/*.nothing", "path": "testdata/nothing.jsonl"} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Logs = []string{pattern}
			st := newStage(t, cfg, signalLogs)
			err := st.receivers[0].Start(t.Context(), st)
			require.ErrorIs(t, err, errNoMatch)
			require.ErrorContains(t, err, pattern)
			st.stop()
		})
	}
	cfg := testConfig()
	cfg.Logs = []string{"testdata"}
	st := newStage(t, cfg, signalLogs)
	require.ErrorIs(t, st.receivers[0].Start(t.Context(), st), errNotRegular)
	st.stop()
}

func TestAFileThatCannotBeOpenedIsCountedOrFatal(t *testing.T) {
	for _, onError := range []OnError{OnErrorSkip, OnErrorFatal} {
		synctest.Test(t, func(t *testing.T) {
			first, _ := testdataLines(t, "traces.jsonl")
			path := write(t, "gone.jsonl", first)
			cfg := testdataConfig()
			cfg.OnError = onError
			cfg.StartAfter = time.Minute
			cfg.Traces = append(cfg.Traces, path)
			st := newStage(t, cfg, signalTraces)
			st.start()
			require.NoError(t, os.Remove(path))
			<-st.over
			assert.Equal(t, map[string]int64{"open_failed": 1, "no_pipeline": 2}, st.counter("otelcol_receiver_replay_files_skipped", "reason"))
			if onError == OnErrorFatal {
				require.ErrorIs(t, st.status()[0].Err(), os.ErrNotExist)
				assert.Empty(t, st.received())
			} else {
				assert.Len(t, st.received(), 2)
				assert.InDelta(t, 1, st.gauge("otelcol_receiver_replay_progress"), 0)
			}
			st.stop()
		})
	}
}

func TestDamagedCompressionIsCountedAndNamed(t *testing.T) {
	first, second := testdataLines(t, "traces.jsonl")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(first + "\n" + second + "\n"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, tc := range map[string]struct {
		content string
		calls   int
		why     reason
	}{
		"header cut":   {packed.String()[:5], 0, reasonTruncatedFile},
		"checksum cut": {packed.String()[:packed.Len()-4], 2, reasonTruncatedFile},
		"checksum":     {packed.String()[:packed.Len()-8] + "12345678", 2, reasonCorruptFile},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Traces = []string{write(t, "t.jsonl.gz", tc.content)}
			cfg.Logs = []string{"testdata/logs.jsonl"}
			st := newStage(t, cfg, signalTraces, signalLogs)
			assert.Len(t, st.toTheEnd(), 2+tc.calls, "the other files are played")
			st.balancedSkips(map[string]int64{string(tc.why): 1})
		})
	}
}

func TestPlayingBeginsWhenEveryReceiverWasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, testdataConfig(), signalTraces, signalMetrics, signalLogs)
		for _, r := range st.receivers[:2] {
			require.NoError(t, r.Start(t.Context(), st))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, st.received())
		require.NoError(t, st.receivers[2].Start(t.Context(), st))
		<-st.over
		assert.Len(t, st.received(), 5)
		st.stop()
	})
}

func TestShutdownAtAnyTimeLeavesNothingBehind(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 20 * time.Second, 45 * time.Second, 89 * time.Second, 200 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble fails when a goroutine is left
				cfg := testdataConfig()
				cfg.Speed = 1
				cfg.StartAfter = time.Second / 2
				cfg.ProgressInterval = 10 * time.Second
				st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
				st.start()
				time.Sleep(after)
				st.stop()
				calls := len(st.received())
				time.Sleep(time.Hour)
				assert.Len(t, st.received(), calls, "nothing may come after Shutdown")
			})
		})
	}
}

func TestFirstShutdownStopsEverySignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Speed = 1
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.start()
		time.Sleep(30 * time.Second)
		require.NoError(t, st.receivers[1].Shutdown(t.Context()))
		time.Sleep(time.Hour)
		assert.Len(t, st.received(), 3)
		st.stop()
	})
}

func TestShutdownLetsTheRequestUnderWayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, testdataConfig(), signalTraces)
		st.answer = func(ctx context.Context, _ signal, _ int) error {
			time.Sleep(10 * time.Second)
			return ctx.Err()
		}
		st.start()
		time.Sleep(time.Second)
		st.stop()
		assert.Len(t, st.received(), 1)
	})
}

func TestShutdownGivesUpOnAStuckPipelineWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, testdataConfig(), signalTraces)
		st.answer = func(ctx context.Context, _ signal, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		}
		st.start()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		err := st.receivers[0].Shutdown(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		synctest.Wait()
		st.balancedSkips(map[string]int64{"shutdown": 1})
	})
}

func TestShutdownDuringRetryCountsTheRequestInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, testdataConfig(), signalTraces)
		st.answer = func(context.Context, signal, int) error { return errors.New("never") }
		st.start()
		time.Sleep(time.Minute)
		require.NoError(t, st.receivers[0].Shutdown(t.Context()))
		st.balancedSkips(map[string]int64{"shutdown": 1})
	})
}

func TestLagShowsAPipelineThatIsTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Speed = 1
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.answer = func(context.Context, signal, int) error {
			time.Sleep(30 * time.Second)
			return nil
		}
		st.play()
		calls := st.received()
		assert.Equal(t, 4*30*time.Second, calls[4].at.Sub(calls[0].at))
		assert.InDelta(t, 30.0, st.gauge("otelcol_receiver_replay_lag"), 1e-9)
		st.stop()
	})
}

func TestProgressIsWrittenToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testdataConfig()
		cfg.Speed = 1
		cfg.ProgressInterval = 11 * time.Second
		st := newStage(t, cfg, signalTraces, signalMetrics, signalLogs)
		st.toTheEnd()
		lines := st.logs.FilterMessage("Replay is under way").All()
		require.Len(t, lines, 8, "at 11s, 22s, .. 88s; the end comes at 90s")
		assert.Equal(t, int64(1), lines[7].ContextMap()["log_records"])
		progress := lines[7].ContextMap()["progress"].(float64)
		assert.Greater(t, progress, 0.5)
		assert.Less(t, progress, 1.0)
	})
}

func TestGapLongerThanMaxGapIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := testdataLines(t, "traces.jsonl")
		later := func(line string) string { return shifted(line, 300*24*time.Hour) }
		cfg := testConfig()
		cfg.Speed = 1
		cfg.Traces = []string{
			write(t, "a.jsonl", first+"\n"+second+"\n"),
			write(t, "b.jsonl", later(first)+"\n"+later(second)+"\n"),
		}
		begin := time.Now()
		calls := newStage(t, cfg, signalTraces).toTheEnd()
		assert.Equal(t, []time.Duration{0, time.Minute, time.Minute, 2 * time.Minute}, offsets(calls, begin))
	})
}

func TestALoneWrongClockNeitherStallsNorReordersTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := testdataLines(t, "traces.jsonl")
		for _, wrong := range []time.Duration{76 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour} {
			cfg := testdataConfig()
			cfg.Speed = 1
			cfg.Traces = []string{write(t, "a.jsonl", shifted(first, wrong)+"\n"+first+"\n"+second+"\n")}
			begin := time.Now()
			calls := newStage(t, cfg, signalTraces, signalMetrics, signalLogs).toTheEnd()
			assert.Equal(t, []time.Duration{0, 0, 20 * time.Second, 20 * time.Second, time.Minute, 90 * time.Second}, offsets(calls, begin))
		}
	})
}

func TestFilesAreOpenedOnlyWhenTheirTimeComes(t *testing.T) {
	first, _ := testdataLines(t, "traces.jsonl")
	cfg := testConfig()
	dir := t.TempDir()
	for i := range 30 {
		writeTo(t, filepath.Join(dir, fmt.Sprintf("t-%02d.jsonl", 29-i)), shifted(first, time.Duration(i)*time.Second)+"\n")
	}
	cfg.Traces = []string{filepath.Join(dir, "t-*.jsonl"), filepath.Join(dir, "t-00.jsonl")}
	st := newStage(t, cfg, signalTraces)
	calls := st.toTheEnd()
	require.Len(t, calls, 30, "a file that two patterns match is played once")
	assert.True(t, slices.IsSortedFunc(calls, func(a, b call) int { return strings.Compare(a.data, b.data) }))
}

// TestMergeAgreesWithABruteForceMerge plays random recordings over many files and compares with the smallest head picked from a list.
func TestMergeAgreesWithABruteForceMerge(t *testing.T) {
	first, _ := testdataLines(t, "traces.jsonl")
	firstLog, _ := testdataLines(t, "logs.jsonl")
	firstLog = strings.ReplaceAll(firstLog, "1700000020000000000", "1700000000000000000")
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		type file struct {
			s     signal
			lines []string
			at    []time.Duration
		}
		var files []*file
		cfg := testConfig()
		cfg.ReadAheadBytes = 1 + rnd.IntN(20_000)
		cfg.Decoders = 1 + rnd.IntN(4)
		for _, s := range []signal{signalTraces, signalLogs} {
			for i := range 1 + rnd.IntN(4) {
				f := &file{s: s}
				at := time.Duration(rnd.IntN(1000)) * time.Second
				for range 1 + rnd.IntN(40) {
					at += time.Duration(rnd.IntN(60)-10) * time.Second // sometimes back
					at = max(at, 0)
					line := first
					if s == signalLogs {
						line = firstLog
					}
					f.lines = append(f.lines, shifted(line, at))
					f.at = append(f.at, at)
				}
				writeTo(t, filepath.Join(dir, fmt.Sprintf("%s-%d.jsonl", s, i)), strings.Join(f.lines, "\n")+"\n")
				files = append(files, f)
			}
		}
		cfg.Traces = []string{filepath.Join(dir, "traces-*")}
		cfg.Logs = []string{filepath.Join(dir, "logs-*")}

		var want []string
		for {
			var next *file
			for _, f := range files {
				if len(f.lines) > 0 && (next == nil || f.at[0] < next.at[0]) {
					next = f
				}
			}
			if next == nil {
				break
			}
			want = append(want, next.lines[0])
			next.lines, next.at = next.lines[1:], next.at[1:]
		}
		var got []string
		for _, c := range newStage(t, cfg, signalTraces, signalLogs).toTheEnd() {
			got = append(got, c.data)
		}
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, times(want[i]), times(got[i]), "seed %d, call %d", seed, i)
		}
	}
}

// times returns the timestamps in a request, as text.
func times(line string) (found []string) {
	for _, part := range strings.Split(line, `UnixNano":"`)[1:] {
		found = append(found, part[:19])
	}
	return found
}

// counter returns a counter's values by one attribute.
func (st *stage) counter(name, by string) map[string]int64 {
	st.t.Helper()
	m, err := st.tel.GetMetric(name)
	if err != nil {
		return map[string]int64{}
	}
	values := map[string]int64{}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value(attribute.Key(by))
		values[v.AsString()] += dp.Value
	}
	return values
}

// gauge returns the value that a gauge had before the receiver was shut down.
func (st *stage) gauge(name string) float64 {
	st.t.Helper()
	m, err := st.tel.GetMetric(name)
	require.NoError(st.t, err)
	return m.Data.(metricdata.Gauge[float64]).DataPoints[0].Value
}

// balanced asserts that every record read is emitted, refused or skipped.
func (st *stage) balanced() {
	st.t.Helper()
	sum := func(name string) (n int64) {
		for _, v := range st.counter(name, "signal") {
			n += v
		}
		return n
	}
	assert.Equal(st.t, sum("otelcol_receiver_replay_records_read"),
		sum("otelcol_receiver_replay_records_emitted")+sum("otelcol_receiver_replay_records_refused")+sum("otelcol_receiver_replay_records_skipped"))
}

// balancedSkips asserts what was skipped for which reason, and the balance.
func (st *stage) balancedSkips(want map[string]int64) {
	st.t.Helper()
	assert.Equal(st.t, want, st.counter("otelcol_receiver_replay_records_skipped", "reason"))
	st.balanced()
}

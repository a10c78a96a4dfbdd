// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTestReadAhead opens files of traces for reading ahead.
func newTestReadAhead(t *testing.T, cfg *Config, paths ...string) (*readAhead, []*openFile) {
	t.Helper()
	ra := newReadAhead(t.Context(), cfg, 2, 0, &sync.Pool{New: func() any { return new([]byte) }})
	var files []*openFile
	for i, path := range paths {
		of, err := ra.open(&plannedFile{path: path, order: i}, cfg.MaxGap)
		require.NoError(t, err)
		files = append(files, of)
	}
	return ra, files
}

func TestReadAheadStopsAtItsBoundAndSharesItEvenly(t *testing.T) {
	line, _ := testdataLines(t, "traces.jsonl")
	many := strings.Repeat(line+"\n", 500)
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.ReadAheadBytes = 20 * len(line)
		ra, files := newTestReadAhead(t, cfg, write(t, "a.jsonl", many), write(t, "b.jsonl", many))
		defer ra.close()
		// The first file may have read ahead before the second was open.
		for _, of := range files {
			for range 20 {
				ra.release(ra.next(of))
			}
		}
		synctest.Wait() // until every reader is blocked
		for _, of := range files {
			assert.Len(t, of.queue, 10)
			assert.Equal(t, 10*len(line), of.held)
		}
		for range 3 {
			ra.release(ra.next(files[0]))
		}
		synctest.Wait()
		assert.Equal(t, 10*len(line), files[0].held, "what is given back is read again")

		for range 500 - 20 - 3 {
			ra.release(ra.next(files[0]))
		}
		assert.Nil(t, ra.next(files[0]))
		synctest.Wait()
		assert.Len(t, files[1].queue, 20, "a file that has ended leaves its share to the others")
	})
}

func TestAFileMayAlwaysHoldOneRecordHoweverSmallTheBound(t *testing.T) {
	line, _ := testdataLines(t, "traces.jsonl")
	cfg := testConfig()
	cfg.ReadAheadBytes = 1
	ra, files := newTestReadAhead(t, cfg, write(t, "a.jsonl", strings.Repeat(line+"\n", 50)), write(t, "b.jsonl", strings.Repeat(line+"\n", 50)))
	defer ra.close()
	for range 50 {
		for _, of := range files {
			r := ra.next(of)
			require.NotNil(t, r)
			require.NoError(t, r.err)
			ra.release(r)
		}
	}
	for _, of := range files {
		assert.Nil(t, ra.next(of))
		assert.Zero(t, of.held)
	}
}

func TestSmallRecordsAreBoundByNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ra, files := newTestReadAhead(t, testConfig(), write(t, "a.jsonl", strings.Repeat("{}\n", 5*longestQueue)))
		defer ra.close()
		synctest.Wait()
		assert.Len(t, files[0].queue, longestQueue)
	})
}

func TestClosingReadAheadEndsBlockedReaders(t *testing.T) {
	line, _ := testdataLines(t, "traces.jsonl")
	for _, content := range []string{strings.Repeat(line+"\n", 500), strings.Repeat("{}\n", 5*longestQueue)} {
		synctest.Test(t, func(t *testing.T) { // the bubble fails when a goroutine is left
			cfg := testConfig()
			cfg.ReadAheadBytes = 2000
			ra, files := newTestReadAhead(t, cfg, write(t, "a.jsonl", content))
			synctest.Wait()
			ra.close()
			for ra.next(files[0]) != nil {
				continue
			}
		})
	}
}

// TestMemoryDoesNotGrowWithTheRecording plays a recording of 64 MiB past a slow pipeline and samples the heap.
func TestMemoryDoesNotGrowWithTheRecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl.gz")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := gzip.NewWriter(f)
	first, _ := testdataLines(t, "traces.jsonl")
	name := strings.Repeat("n", 64<<10)
	for i := range 1024 {
		_, err = fmt.Fprintln(z, strings.Replace(shifted(first, time.Duration(i)*time.Second), `"first"`, `"`+name+`"`, 1))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())

	cfg := testConfig()
	cfg.ReadAheadBytes = 1 << 20
	cfg.Traces = []string{path}
	st := newStage(t, cfg, signalTraces)
	st.digest = true
	var most uint64
	st.answer = func(_ context.Context, _ signal, nth int) error {
		if nth%64 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Len(t, st.toTheEnd(), 1024)
	assert.Less(t, int64(most)-int64(before.HeapAlloc), int64(12<<20))
}

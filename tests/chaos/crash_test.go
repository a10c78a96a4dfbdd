// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// load sends one span at a time to a service until it is stopped, and counts those that were accepted.
type load struct {
	accepted, failed atomic.Int64
	stop             func()
}

func (s *site) startLoad(t *testing.T, service string) *load {
	t.Helper()
	connection := s.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	l := &load{stop: func() {
		cancel()
		sending.Wait()
	}}
	t.Cleanup(l.stop)
	for worker := range uint64(4) {
		client := ptraceotlp.NewGRPCClient(connection)
		sending.Go(func() {
			for n := worker << 40; ctx.Err() == nil; n++ {
				traces := ptrace.NewTraces()
				serverSpan(traces, service, n, false)
				// What is under way when the load ends is waited for: it counts if it was accepted.
				request, done := context.WithTimeout(context.WithoutCancel(ctx), wait)
				_, err := client.Export(request, ptraceotlp.NewExportRequestFromTraces(traces))
				done()
				if err != nil {
					l.failed.Add(1)
					time.Sleep(10 * time.Millisecond)
					continue
				}
				l.accepted.Add(1)
			}
		})
	}
	return l
}

func (l *load) await(t *testing.T, more int64) {
	t.Helper()
	from := l.accepted.Load()
	harness.Await(t, wait, "the load to be accepted", func() bool { return l.accepted.Load() >= from+more })
}

// What was acknowledged is in the book after a kill, each once: the journal was written before the answer.
func TestAKillLosesNothingOfTheBookThatWasAcknowledged(t *testing.T) {
	s := newSite(t)
	config := s.config("http://" + harness.Address(t))
	collector := s.start(t, config)
	l := s.startLoad(t, "checkout")
	l.await(t, 2000)
	collector.Kill()
	l.stop()

	restarted := s.start(t, config)

	total := int64(s.total(t, "checkout"))
	assert.GreaterOrEqual(t, total, l.accepted.Load())
	assert.LessOrEqual(t, total, l.accepted.Load()+4, "only what was under way may count without having been acknowledged")
	t.Logf("accepted %d, in the book after the kill %d", l.accepted.Load(), total)
	assert.NotContains(t, restarted.Logs(), "is lost")
	traces := ptrace.NewTraces()
	serverSpan(traces, "checkout", 1, false)
	s.send(t, s.dial(t), traces)
	assert.InDelta(t, float64(total+1), s.total(t, "checkout"), 0, "the book goes on")
}

// A reload stops everything and starts it anew. With storage the book of the objectives that stayed the same goes on where it was;
// what was accepted before counts once.
func TestAReloadKeepsTheBookOfUnchangedObjectives(t *testing.T) {
	s := newSite(t)
	config := s.config("http://" + harness.Address(t))
	path := harness.WriteFile(t, "site.yaml", config)
	collector := harness.Start(t, harness.Options{Binary: harness.Binary(t, "pitwall-sidecar"), Configs: []string{path}, Log: filepath.Join(t.TempDir(), "log")})
	l := s.startLoad(t, "checkout")
	for round := range 3 {
		l.await(t, 300)
		changed := config
		if round > 0 {
			changed = strings.Replace(config, "bad_severity: ERROR", "bad_severity: WARN", 1)
		}
		write(t, path, changed)
		require.NoError(t, collector.Signal(syscall.SIGHUP))
		harness.Await(t, wait, "the reload", func() bool { return strings.Count(collector.Logs(), "Everything is ready") >= round+2 })
	}
	l.await(t, 300)
	l.stop()

	require.True(t, collector.Running())
	total := int64(s.total(t, "checkout"))
	accepted := l.accepted.Load()
	t.Logf("accepted %d, failed %d, in the book %d", accepted, l.failed.Load(), total)
	assert.GreaterOrEqual(t, total, accepted, "nothing that was accepted is missing")
	assert.LessOrEqual(t, total, accepted+l.failed.Load(), "only what was under way may count without having been acknowledged")
}

// A full disk stops neither the data nor the counting; the book is saved again once there is space.
func TestAFullDiskIsSurvivedAndRecoveredFrom(t *testing.T) {
	s := newSite(t)
	if err := syscall.Mount("tmpfs", s.state, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("SKIPPED: a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(s.state, syscall.MNT_DETACH)) })
	config := s.config("http://" + harness.Address(t))
	collector := s.start(t, config)
	l := s.startLoad(t, "checkout")
	l.await(t, 100)

	ballast := filepath.Join(s.state, "ballast")
	fill(t, ballast)
	connection := s.dial(t)
	harness.Await(t, wait, "the collector to say that it cannot save", func() bool {
		traces := ptrace.NewTraces()
		for i := range uint64(200) { // groups, so that the book needs new pages
			serverSpan(traces, "service-"+string(rune('a'+i%26))+strings.Repeat("x", int(i/26)), i, false)
		}
		s.send(t, connection, traces)
		return strings.Contains(collector.Logs(), "could not be saved")
	})
	l.await(t, 100)
	require.True(t, collector.Running())

	empty(t, ballast, s.state)
	l.await(t, 100)
	l.stop()
	accepted := l.accepted.Load()
	assert.InDelta(t, float64(accepted), s.total(t, "checkout"), 0, "every accepted span counts")
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)

	s.start(t, config)
	assert.InDelta(t, float64(accepted), s.total(t, "checkout"), 0, "and is there after a restart")
}

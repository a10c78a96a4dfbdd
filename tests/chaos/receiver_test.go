// SPDX-License-Identifier: Apache-2.0

package chaos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// webhook is a receiver of CloudEvents that misbehaves on demand.
type webhook struct {
	answer   atomic.Int64 // the status; 0 never answers
	attempts atomic.Int64
	mu       sync.Mutex
	taken    []string // "<service> <state>" in order
	server   *http.Server
	url      string
	done     chan struct{}
}

func newWebhook(t *testing.T, answer int64) *webhook {
	t.Helper()
	listener, err := net.Listen("tcp", harness.Address(t))
	require.NoError(t, err)
	w := &webhook{url: "http://" + listener.Addr().String() + "/events", done: make(chan struct{})}
	w.answer.Store(answer)
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: wait}
	go func() { _ = w.server.Serve(listener) }()
	t.Cleanup(func() {
		close(w.done)
		w.server.Close()
	})
	return w
}

func (w *webhook) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	body, _ := io.ReadAll(in.Body)
	w.attempts.Add(1)
	status := int(w.answer.Load())
	if status == 0 {
		select {
		case <-in.Context().Done():
		case <-w.done:
		}
		return
	}
	if status < 300 {
		var event struct {
			Subject string `json:"subject"`
			Data    struct {
				State string `json:"state"`
			} `json:"data"`
		}
		_ = json.Unmarshal(body, &event)
		w.mu.Lock()
		w.taken = append(w.taken, event.Subject+" "+event.Data.State)
		w.mu.Unlock()
	}
	if status == http.StatusTemporaryRedirect {
		out.Header().Set("Location", "http://localhost:1/elsewhere")
	}
	out.WriteHeader(status)
}

func (w *webhook) received() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.taken...)
}

// burn makes services fire until the board shows a signal of each.
func (s *site) burn(t *testing.T, services ...string) {
	t.Helper()
	connection := s.dial(t)
	number := uint64(0)
	harness.Await(t, 2*wait, "the services to fire", func() bool {
		traces := ptrace.NewTraces()
		for _, service := range services {
			for range 20 {
				number++
				serverSpan(traces, service, number, true)
			}
		}
		s.send(t, connection, traces)
		time.Sleep(500 * time.Millisecond)
		var signals struct {
			Total int `json:"total"`
		}
		s.get(t, "/api/v1/signals", &signals)
		return signals.Total >= len(services)
	})
}

func TestSignalsArriveOnceEachWhenTheReceiverIsBack(t *testing.T) {
	t.Parallel()
	s, hook := newSite(t), newWebhook(t, http.StatusInternalServerError)
	s.start(t, s.config(hook.url))
	s.burn(t, "one", "two", "three")
	harness.Await(t, wait, "the receiver to refuse", func() bool { return hook.attempts.Load() > 1 })
	require.Empty(t, hook.received())
	hook.answer.Store(http.StatusAccepted)
	harness.Await(t, wait, "the signals to arrive", func() bool { return len(hook.received()) >= 3 })
	assert.ElementsMatch(t, []string{"one firing", "two firing", "three firing"}, hook.received()[:3])
}

func TestAReceiverThatRedirectsIsNotFollowedAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s, hook := newSite(t), newWebhook(t, http.StatusTemporaryRedirect)
	collector := s.start(t, s.config(hook.url))
	s.burn(t, "one", "two")
	harness.Await(t, wait, "both to be tried", func() bool { return hook.attempts.Load() >= 2 })
	assert.True(t, collector.Running())
}

// What waits for a receiver that never answers must not hold the process up for a timeout a signal.
func TestStopIsNotHeldUpByAReceiverThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s, hook := newSite(t), newWebhook(t, 0)
	collector := s.start(t, s.config(hook.url))
	services := make([]string, 6)
	for i := range services {
		services[i] = fmt.Sprint("service-", i)
	}
	s.burn(t, services...)
	harness.Await(t, wait, "the receiver to hang", func() bool { return hook.attempts.Load() > 0 })

	exit, err := collector.Stop()

	require.NoError(t, err)
	assert.Zero(t, exit.Code)
	assert.Less(t, exit.Took, 15*time.Second)
	t.Logf("stopped in %s", exit.Took)
}

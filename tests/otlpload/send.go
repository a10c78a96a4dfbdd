// SPDX-License-Identifier: Apache-2.0

package otlpload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	maxMessageBytes = 64 << 20
	defaultTimeout  = 30 * time.Second
)

// Sender sends a recording to an OTLP gRPC endpoint. It never retries: what was
// not acknowledged counts as failed, so that acknowledged is what the receiver
// owes.
type Sender struct {
	// Endpoint is host:port.
	Endpoint string
	// Rate is in spans per second; zero means as fast as they are accepted.
	Rate float64
	// Repeat is how often the recording is sent; zero means once.
	Repeat int
	// Concurrency is the number of requests under way at once; zero means four.
	Concurrency int
	// Timeout bounds one request; zero means half a minute.
	Timeout time.Duration
	// OnAck and OnFail, where set, are called for each acknowledged and each
	// failed request, from several goroutines.
	OnAck  func(ptrace.Traces)
	OnFail func(ptrace.Traces, error)
}

// Result is what became of the spans.
type Result struct {
	// Sent = Acked + Failed, in spans. Rejected by a partial success counts as
	// failed.
	Sent, Acked, Failed int64
	// Took is the time from the first request to the last answer.
	Took time.Duration
	// LastError is one of the failures' reasons.
	LastError error
}

// String is the result in one line.
func (r Result) String() string {
	line := fmt.Sprintf("sent %d acked %d failed %d in %.2fs = %.0f spans/s", r.Sent, r.Acked, r.Failed, r.Took.Seconds(), float64(r.Acked)/r.Took.Seconds())
	if r.LastError != nil {
		line += fmt.Sprintf(" (last error: %v)", r.LastError)
	}
	return line
}

// Send sends the recording and returns once every request was answered. If the
// context ends, what is under way is still waited for and the rest not sent.
func (s Sender) Send(ctx context.Context, recording *Recording) (Result, error) {
	connection, err := grpc.NewClient(s.Endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxMessageBytes)))
	if err != nil {
		return Result{}, err
	}
	defer connection.Close()
	client := ptraceotlp.NewGRPCClient(connection)

	concurrency := s.Concurrency
	if concurrency <= 0 {
		concurrency = 4
	}
	var tally tally
	requests := make(chan ptrace.Traces)
	var workers sync.WaitGroup
	begin := time.Now()
	for range concurrency {
		workers.Go(func() {
			for traces := range requests {
				s.export(client, traces, &tally)
			}
		})
	}
	s.feed(ctx, recording, requests)
	close(requests)
	workers.Wait()
	tally.result.Took = time.Since(begin)
	return tally.result, nil
}

// feed hands out the requests at the asked rate.
func (s Sender) feed(ctx context.Context, recording *Recording, requests chan<- ptrace.Traces) {
	begin, offered := time.Now(), 0
	for repetition := range max(s.Repeat, 1) {
		for _, request := range recording.Requests {
			if s.Rate > 0 {
				due := time.Duration(float64(offered) / s.Rate * float64(time.Second))
				select {
				case <-time.After(due - time.Since(begin)):
				case <-ctx.Done():
					return
				}
			}
			offered += request.SpanCount()
			select {
			case requests <- recording.renewed(request, repetition):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s Sender) export(client ptraceotlp.GRPCClient, traces ptrace.Traces, tally *tally) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// Not the sender's context: a request under way is always seen to its end, or
	// nobody could say whether it was accepted.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	response, err := client.Export(ctx, ptraceotlp.NewExportRequestFromTraces(traces))
	rejected := int64(0)
	if err == nil {
		rejected = response.PartialSuccess().RejectedSpans()
	}
	tally.add(int64(traces.SpanCount()), rejected, err)
	switch {
	case err == nil && s.OnAck != nil:
		s.OnAck(traces)
	case err != nil && s.OnFail != nil:
		s.OnFail(traces, err)
	}
}

// tally is a result that several workers add to.
type tally struct {
	mu     sync.Mutex
	result Result
}

func (t *tally) add(spans, rejected int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Sent += spans
	if err != nil {
		t.result.Failed += spans
		t.result.LastError = err
		return
	}
	t.result.Failed += rejected
	t.result.Acked += spans - rejected
}

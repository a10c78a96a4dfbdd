// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

const progressKey = "progress"

var errProgress = errors.New("what was sent of it before the restart is not what would be sent now")

// progress is how far a file of several requests was sent. It outlives a crash, so that no request is sent twice but the one that was on
// its way.
type progress struct {
	File  string `json:"file"`
	Stamp stamp  `json:"stamp"`
	Sent  int    `json:"sent"`
	// Sum is a hash over all that was sent: another state of the bill, or another configuration, would make other requests.
	Sum []byte `json:"sum"`
}

// advance notes that the next request of the file was sent.
func (s *store) advance(ctx context.Context, p *pending) error {
	if s.client == nil || len(p.requests) == 1 {
		p.sent++
		return nil
	}
	sum, err := chained(p.sum, p.requests[p.sent])
	p.sent++
	p.sum = sum
	if err != nil {
		return err
	}
	b, err := encode(progress{p.file.name, p.file.stamp, p.sent, sum})
	if err != nil {
		return err
	}
	return s.client.Set(ctx, progressKey, b)
}

// resume skips what was sent of the file before the receiver started.
func (s *store) resume(ctx context.Context, p *pending) error {
	if s.client == nil {
		return nil
	}
	var done progress
	ok, err := s.get(ctx, progressKey, &done)
	if err != nil || !ok || done.File != p.file.name || done.Stamp != p.file.stamp {
		return err
	}
	if done.Sent > len(p.requests) {
		return errProgress
	}
	var sum []byte
	for i := range done.Sent {
		if sum, err = chained(sum, p.requests[i]); err != nil {
			return err
		}
	}
	if !bytes.Equal(sum, done.Sum) {
		return errProgress
	}
	p.sent, p.sum = done.Sent, sum
	return nil
}

func chained(sum []byte, md pmetric.Metrics) ([]byte, error) {
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		return nil, err
	}
	next := sha256.Sum256(append(sum, body...))
	return next[:], nil
}

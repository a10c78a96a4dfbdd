// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/timeline"
)

// pass is one way through the recording, from the first event to the last.
//
// The order: of all files, the one whose next request has the smallest place goes first. Requests of one file never change their order. So a
// file that is itself in event order stays so in the merge, and one that is not delays no other.
type pass struct {
	*player
	play    context.Context
	deliver context.Context
	files   []*plannedFile // by place
	origin  int64          // the first event time of the recording
	pace    timeline.Pace

	on int64 // how far this pass is after the first, in the recording's own time
	by int64 // how far every timestamp is moved

	end   int64 // the last event time of the recording, as far as it was played
	heads heads
}

// run plays the recording once. It returns an error where a defect is fatal, and early when play ends.
func (ps *pass) run() error {
	ra := newReadAhead(ps.play, ps.cfg, ps.decoders(), ps.by, &ps.pooled)
	defer ra.close()
	ps.heads = ps.heads[:0]
	waiting := ps.files
	for {
		for len(waiting) > 0 && (len(ps.heads) == 0 || waiting[0].before(ps.heads[0])) {
			if err := ps.open(ra, waiting[0]); err != nil {
				return err
			}
			waiting = waiting[1:]
		}
		if len(ps.heads) == 0 || ps.play.Err() != nil {
			return nil
		}
		r := ps.heads[0]
		if !ps.untilDue(r) {
			ps.score.read(r.file.plan.signal, r.stored)
			ps.score.skipped(r.file.plan.signal, reasonShutdown)
			return nil
		}
		ps.score.read(r.file.plan.signal, r.stored)
		if !ps.offer(ps.play, ps.deliver, r, ps.by) {
			return nil
		}
		ps.stretch(r)
		ra.release(r)
		if err := ps.advance(ra, r.file); err != nil {
			return err
		}
	}
}

// open opens a file and takes its first request among the heads.
func (ps *pass) open(ra *readAhead, plan *plannedFile) error {
	of, err := ra.open(plan, ps.cfg.MaxGap)
	if err != nil {
		ps.score.fileSkipped(plan.signal, reasonOpenFailed, 1)
		ps.score.passOver(plan.bytes)
		return ps.defect(plan, err)
	}
	r, err := ps.next(ra, of)
	if r != nil {
		heap.Push(&ps.heads, r)
	}
	return err
}

// advance replaces the first head, which was played, by the next request of its file.
func (ps *pass) advance(ra *readAhead, of *openFile) error {
	r, err := ps.next(ra, of)
	if r == nil {
		heap.Pop(&ps.heads)
		return err
	}
	ps.heads[0] = r
	heap.Fix(&ps.heads, 0)
	return nil
}

// next returns the next request of a file that can be played; nil at the end of the file, on a fatal defect and when play ends.
func (ps *pass) next(ra *readAhead, of *openFile) (*record, error) {
	for {
		r := ra.next(of)
		if r == nil {
			if ps.play.Err() == nil {
				ps.score.readTail(of.plan.signal, of.tail)
				ps.score.passOver(of.plan.bytes - of.read - of.tail)
			}
			return nil, nil
		}
		of.read += r.stored
		if r.err == nil && r.batch.repaired > 0 {
			r.err = ps.repaired(r)
		}
		if r.err == nil {
			r.place = of.track.Place(r.batch.span.first)
			return r, nil
		}
		ra.release(r)
		ps.score.read(of.plan.signal, r.stored)
		ps.score.skipped(of.plan.signal, reasonOf(r.err))
		if err := ps.defect(of.plan, r.err); err != nil {
			return nil, err
		}
	}
}

// repaired accounts for negative timestamps that are played as unknown; where defects are fatal, they are one.
func (ps *pass) repaired(r *record) error {
	plan := r.file.plan
	if ps.cfg.OnError == OnErrorFatal {
		return &recording.Error{Position: r.Position, Err: errNegative}
	}
	ps.score.repaired(plan.signal, r.batch.repaired)
	if ps.score.worthALine(plan.signal, lineRepaired) {
		ps.log.Warn("Timestamps before 1970 are played as unknown", zap.Stringer("signal", plan.signal), zap.String("file", plan.path),
			zap.Stringer("at", r.Position), zap.Int("timestamps", r.batch.repaired))
	}
	return nil
}

// defect tells of a defect; it returns an error where that ends the replay.
func (ps *pass) defect(plan *plannedFile, err error) error {
	if ps.cfg.OnError == OnErrorFatal {
		return fmt.Errorf("%s: %s: %w", plan.signal, plan.path, err)
	}
	if ps.score.worthALine(plan.signal, reasonOf(err)) {
		ps.log.Warn("Part of the recording is skipped", zap.Stringer("signal", plan.signal), zap.String("file", plan.path),
			zap.String("reason", string(reasonOf(err))), zap.Error(err))
	}
	return nil
}

// untilDue waits until a request is due; false when play ends first.
func (ps *pass) untilDue(r *record) bool {
	now := time.Now()
	due, gap := ps.pace.Due(max(r.place, ps.origin)+ps.on, now)
	if gap {
		ps.log.Info("A gap in the recording is passed over", zap.Duration("longer_than", ps.cfg.MaxGap),
			zap.Time("event_time", time.Unix(0, r.place).UTC()))
	}
	ps.score.lag.Store(int64(max(now.Sub(due), 0)))
	return wait(ps.play, due.Sub(now))
}

// stretch takes a request that was played into the length of the recording. What a wrong clock shows is left out.
func (ps *pass) stretch(r *record) {
	span := r.batch.span
	if span.first == 0 || !timeline.Near(span.first, r.place, ps.cfg.MaxGap) {
		return
	}
	if !timeline.Near(span.last, span.first, ps.cfg.MaxGap) {
		span.last = span.first
	}
	ps.end = max(ps.end, span.last)
}

// length returns how far a pass is after the one before, in the recording's own time.
func (ps *pass) length() int64 {
	return max(ps.end-ps.origin, 0) + int64(pauseBetweenPasses)
}

// before reports whether a file must be opened before a request is played.
func (f *plannedFile) before(r *record) bool {
	return cmp.Or(cmp.Compare(f.place, r.place), cmp.Compare(f.order, r.file.plan.order)) < 0
}

func sortFiles(files []*plannedFile) {
	slices.SortFunc(files, func(a, b *plannedFile) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.order, b.order))
	})
}

// heads is a heap of the next request of each open file.
type heads []*record

func (h heads) Len() int { return len(h) }

func (h heads) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].place, h[j].place), cmp.Compare(h[i].file.plan.order, h[j].file.plan.order)) < 0
}

func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(r any)   { *h = append(*h, r.(*record)) }

func (h *heads) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return r
}

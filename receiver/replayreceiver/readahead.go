// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/recording"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/timeline"
)

// longestQueue bounds the records of one file that are read ahead, however small they are.
const longestQueue = 1024

// record is one recorded request on its way from its file to the pipeline, or a defect in its place.
type record struct {
	recording.Record
	file *openFile

	// buf is what Data lives in. It is kept until the request was taken: a pipeline may have changed the decoded form when it refuses.
	buf *[]byte
	// stored is how many bytes of the file, as it is stored, were read since the record before.
	stored int64
	// err is what is wrong with the record or with the file from here on. Set before decoded is closed.
	err error
	// batch is the decoded request when err is nil. Set before decoded is closed.
	batch   batch
	decoded chan struct{}
	// place is where the request belongs in the order, in the recording's own time. Set when it becomes the head of its file.
	place int64
}

// openFile is a file that is being read ahead. Its reader goroutine sends the records in their order on queue and closes it at the end.
type openFile struct {
	plan  *plannedFile
	track timeline.Track // the player's
	queue chan *record
	read  int64 // bytes of the file, as it is stored, in the records that the player took; the player's
	tail  int64 // such bytes after the last record; set before queue is closed
	held  int   // uncompressed bytes between reader and pipeline; guarded by quota.mu
}

// readAhead reads and decodes files ahead of the player: one reader goroutine a file, a fixed number of decoder goroutines for all.
// A decoder never waits for anything but work, and a file may always hold one record, so the player always gets the record it asks for.
type readAhead struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	limits recording.Limits
	by     int64 // how far every timestamp is moved
	work   chan *record
	quota  *quota
	bufs   *sync.Pool
}

func newReadAhead(ctx context.Context, cfg *Config, decoders int, by int64, bufs *sync.Pool) *readAhead {
	ctx, cancel := context.WithCancel(ctx)
	ra := &readAhead{
		ctx:    ctx,
		cancel: cancel,
		limits: cfg.limits(),
		by:     by,
		work:   make(chan *record, decoders),
		quota:  newQuota(cfg.ReadAheadBytes),
		bufs:   bufs,
	}
	for range decoders {
		ra.done.Go(ra.decodeAll)
	}
	return ra
}

// close stops every goroutine and waits for them.
func (ra *readAhead) close() {
	ra.cancel()
	ra.quota.close()
	ra.done.Wait()
}

// open starts to read a file ahead.
func (ra *readAhead) open(plan *plannedFile, maxGap time.Duration) (*openFile, error) {
	f, err := os.Open(plan.path)
	if err != nil {
		return nil, err
	}
	of := &openFile{plan: plan, track: timeline.NewTrack(maxGap), queue: make(chan *record, longestQueue)}
	if plan.place != 0 {
		of.track.Begin(plan.place)
	}
	ra.quota.join()
	ra.done.Go(func() {
		defer ra.quota.leave()
		defer close(of.queue)
		defer f.Close()
		ra.readAll(of, f)
	})
	return of, nil
}

// readAll reads a file to its end or to where it cannot be read further.
func (ra *readAhead) readAll(of *openFile, f io.Reader) {
	rd, err := recording.NewReader(f, ra.limits)
	if err != nil {
		ra.enqueue(of, &record{file: of, err: err})
		return
	}
	defer rd.Close()
	var before int64
	for {
		r := &record{file: of, buf: ra.bufs.Get().(*[]byte)}
		r.Record, r.err = rd.Next(*r.buf)
		if errors.Is(r.err, io.EOF) {
			ra.bufs.Put(r.buf)
			of.tail = rd.Consumed() - before
			return
		}
		r.stored = rd.Consumed() - before
		before += r.stored
		if r.Data != nil {
			*r.buf = r.Data
		}
		if !ra.quota.take(of, len(r.Data)) || !ra.enqueue(of, r) {
			return
		}
	}
}

// enqueue hands a record to the decoders, unless it is a defect already, and to the player. It is false when reading is over.
func (ra *readAhead) enqueue(of *openFile, r *record) bool {
	r.decoded = make(chan struct{})
	if r.err != nil {
		close(r.decoded)
	} else {
		select {
		case ra.work <- r:
		case <-ra.ctx.Done():
			return false
		}
	}
	select {
	case of.queue <- r:
		return true
	case <-ra.ctx.Done():
		return false
	}
}

func (ra *readAhead) decodeAll() {
	for {
		select {
		case r := <-ra.work:
			r.decode(ra.by)
			close(r.decoded)
		case <-ra.ctx.Done():
			return
		}
	}
}

// next returns the next record of a file once it is decoded; nil at the end of the file or when reading is over.
func (ra *readAhead) next(of *openFile) *record {
	select {
	case r, ok := <-of.queue:
		if !ok {
			return nil
		}
		select {
		case <-r.decoded:
			return r
		case <-ra.ctx.Done():
		}
	case <-ra.ctx.Done():
	}
	return nil
}

// release gives back what a record held.
func (ra *readAhead) release(r *record) {
	ra.quota.give(r.file, len(r.Data))
	if r.buf != nil {
		ra.bufs.Put(r.buf)
		r.buf = nil
	}
}

// decode makes the batch out of the record's data, moved by a constant. It may be called again to get a fresh batch.
func (r *record) decode(by int64) {
	b, err := decode(r.file.plan.signal, r.Encoding, r.Data)
	if err != nil {
		r.err = &recording.Error{Position: r.Position, Err: err}
		if r.Unterminated && !errors.Is(err, errWrongSignal) && !errors.Is(err, errEmpty) {
			r.err = &recording.Error{Position: r.Position, Err: recording.ErrTruncated}
		}
		return
	}
	b.measureAndShift(by)
	r.batch = b
}

// quota shares the bytes that may be read ahead evenly among the open files. A file that holds nothing may always take one record, whatever
// its size: without that, two files could wait for each other.
type quota struct {
	mu     sync.Mutex
	freed  sync.Cond // signalled whenever a take that waits may go on
	bytes  int
	files  int
	closed bool
}

func newQuota(bytes int) *quota {
	q := &quota{bytes: bytes}
	q.freed.L = &q.mu
	return q
}

// take waits until a file may hold n bytes more; false when the quota was closed.
func (q *quota) take(of *openFile, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && of.held > 0 && of.held+n > q.bytes/max(q.files, 1) {
		q.freed.Wait()
	}
	of.held += n
	return !q.closed
}

func (q *quota) give(of *openFile, n int) { q.change(func() { of.held -= n }) }
func (q *quota) join()                    { q.change(func() { q.files++ }) }
func (q *quota) leave()                   { q.change(func() { q.files-- }) }
func (q *quota) close()                   { q.change(func() { q.closed = true }) }

func (q *quota) change(how func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	how()
	q.freed.Broadcast()
}

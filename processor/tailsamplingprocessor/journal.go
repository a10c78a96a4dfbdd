// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

const (
	// journalInterval is how much of what came in a crash may take.
	journalInterval = 500 * time.Millisecond
	// maxChunk is the size of unpacked requests that are written at once, without waiting for the interval.
	maxChunk = 4 << 20
	// chunkVersion begins each chunk. A chunk of another version is refused.
	chunkVersion = 1
	rangeKey     = "range"
)

var (
	errChunk       = errors.New("a stored chunk does not decode")
	errNotAStorage = errors.New("is not a storage extension")
	errJournalUsed = errors.New("two pipelines use tail_sampling with storage under the same component ID: give them names of their own (tail_sampling/a)")
)

// The coders of chunks check what they read, unlike those of segments in memory.
var (
	chunkEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	chunkDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
)

// journals remembers which component IDs have a journal open. A factory has one.
type journals struct {
	mu   sync.Mutex
	open map[component.ID]struct{}
}

func (j *journals) take(id component.ID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, used := j.open[id]; used {
		return errJournalUsed
	}
	j.open[id] = struct{}{}
	return nil
}

func (j *journals) giveBack(id component.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.open, id)
}

// journal keeps requests in a storage extension until every trace in them is decided and delivered, so that they can be taken in again
// after a crash or a restart.
type journal struct {
	client storage.Client

	// mu guards what follows; writing keeps chunks in order and is taken before mu.
	writing sync.Mutex
	mu      sync.Mutex
	buf     []byte
	next    uint64
	chunks  []chunk
}

// chunk is what was written at once. Once the traces that began in it are decided, mark is how much output must be delivered before it
// can go.
type chunk struct {
	number  uint64
	at      time.Time
	mark    uint64
	decided bool
}

func openJournal(ctx context.Context, host component.Host, extension, id component.ID) (*journal, error) {
	found, ok := host.GetExtensions()[extension]
	if !ok {
		return nil, fmt.Errorf("storage: extension %q is not running", extension)
	}
	store, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: extension %q %w", extension, errNotAStorage)
	}
	client, err := store.GetClient(ctx, component.KindProcessor, id, "")
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	j := &journal{client: client}
	return j, j.load(ctx)
}

func chunkKey(number uint64) string { return "chunk-" + strconv.FormatUint(number, 10) }

// untaken is the time of chunks of an earlier run that are not taken in yet: none is before it.
var untaken = time.Unix(1<<40, 0)

// load finds the chunks of an earlier run.
func (j *journal) load(ctx context.Context) error {
	raw, err := j.client.Get(ctx, rangeKey)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if len(raw) != 16 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = binary.BigEndian.Uint64(raw[8:])
	for number := binary.BigEndian.Uint64(raw); number < j.next; number++ {
		j.chunks = append(j.chunks, chunk{number: number, at: untaken})
	}
	return nil
}

// replay hands the requests of an earlier run to take, oldest first. Chunks that do not decode are skipped and reported.
func (j *journal) replay(ctx context.Context, clock func() time.Time, take func([]byte) error) error {
	j.mu.Lock()
	var numbers []uint64
	for _, c := range j.chunks {
		if c.at.Equal(untaken) {
			numbers = append(numbers, c.number)
		}
	}
	j.mu.Unlock()
	var errs []error
	for _, number := range numbers {
		data, err := j.client.Get(ctx, chunkKey(number))
		if err == nil && data != nil {
			err = eachRequest(data, take)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("storage: chunk %d: %w", number, err))
		}
		j.mu.Lock()
		for i := range j.chunks {
			if j.chunks[i].number == number {
				j.chunks[i].at = clock()
			}
		}
		j.mu.Unlock()
	}
	return errors.Join(errs...)
}

func eachRequest(data []byte, take func([]byte) error) error {
	if len(data) == 0 || data[0] != chunkVersion {
		return errChunk
	}
	raw, err := chunkDecoder.DecodeAll(data[1:], nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errChunk, err)
	}
	for len(raw) > 0 {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > uint64(len(raw)-size) {
			return errChunk
		}
		if err := take(raw[size : size+int(n)]); err != nil {
			return err
		}
		raw = raw[size+int(n):]
	}
	return nil
}

// record notes a request, and writes when there is enough.
func (j *journal) record(ctx context.Context, data []byte, now time.Time) error {
	j.mu.Lock()
	j.buf = binary.AppendUvarint(j.buf, uint64(len(data)))
	j.buf = append(j.buf, data...)
	full := len(j.buf) >= maxChunk
	j.mu.Unlock()
	if full {
		return j.flush(ctx, now)
	}
	return nil
}

// flush writes what was noted. What cannot be written is kept for the next time.
func (j *journal) flush(ctx context.Context, now time.Time) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	buf := j.buf
	j.buf = nil
	number := j.next
	first := number
	if len(j.chunks) > 0 {
		first = j.chunks[0].number
	}
	j.mu.Unlock()
	if len(buf) == 0 {
		return nil
	}
	err := j.client.Batch(ctx,
		storage.SetOperation(chunkKey(number), chunkEncoder.EncodeAll(buf, []byte{chunkVersion})),
		storage.SetOperation(rangeKey, rangeOf(first, number+1)))
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.buf = append(buf, j.buf...)
		return fmt.Errorf("storage: %w", err)
	}
	j.next = number + 1
	j.chunks = append(j.chunks, chunk{number: number, at: now})
	return nil
}

func rangeOf(first, next uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, first), next)
}

// expire lets go of chunks written before a time, once what was queued by now is delivered.
func (j *journal) expire(ctx context.Context, before time.Time, queued, delivered uint64) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	gone := 0
	for i := range j.chunks {
		c := &j.chunks[i]
		if !c.decided && c.at.Before(before) {
			c.decided, c.mark = true, queued
		}
		if gone == i && c.decided && delivered >= c.mark {
			gone++
		}
	}
	done := j.chunks[:gone]
	first := j.next
	if gone < len(j.chunks) {
		first = j.chunks[gone].number
	}
	ops := []*storage.Operation{storage.SetOperation(rangeKey, rangeOf(first, j.next))}
	for _, c := range done {
		ops = append(ops, storage.DeleteOperation(chunkKey(c.number)))
	}
	j.mu.Unlock()
	if gone == 0 {
		return nil
	}
	if err := j.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	j.mu.Lock()
	j.chunks = j.chunks[gone:]
	j.mu.Unlock()
	return nil
}

// clear lets go of everything.
func (j *journal) clear(ctx context.Context) error {
	j.mu.Lock()
	j.buf = nil
	j.mu.Unlock()
	return j.expire(ctx, untaken.Add(1), 0, 0)
}

func (j *journal) close(ctx context.Context) error {
	if err := j.client.Close(ctx); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/hex"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// maxCitations bounds the traces that are remembered for being named by a signal.
const maxCitations = 512

// citations are the traces that signals named lately.
type citations struct {
	mu   sync.Mutex
	list []citation
}

type citation struct {
	at time.Time
	id [16]byte
}

// add notes the exemplars of a signal.
func (c *citations) add(e *signal.Envelope, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range e.Evidence.Exemplars {
		var id [16]byte
		if len(x.TraceID) != hex.EncodedLen(len(id)) {
			continue
		}
		if _, err := hex.Decode(id[:], []byte(x.TraceID)); err != nil {
			continue
		}
		if len(c.list) >= maxCitations {
			c.list = append(c.list[:0], c.list[maxCitations/2:]...)
		}
		c.list = append(c.list, citation{now, id})
	}
}

func (c *citations) since(at time.Time) (ids [][16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.list {
		if !x.at.Before(at) {
			ids = append(ids, x.id)
		}
	}
	return ids
}

// CitedTraces returns the traces that signals named since a time. The sampler keeps those of them that still wait.
func (e *optimizationExtension) CitedTraces(since time.Time) [][16]byte { return e.cited.since(since) }

// SPDX-License-Identifier: Apache-2.0

package ownership

import "sync"

// maxKey is the length in bytes above which a key is not cached.
const maxKey = 1 << 14

// Cache remembers a value per resource, within a bound on entries and on the bytes of their keys. It keeps two generations: when the
// young one is full it becomes the old one and the old one is forgotten, so that every entry used within the last half of the bound
// stays, and neither a hit nor an eviction searches. It is safe for concurrent use.
type Cache[V any] struct {
	maxEntries int
	maxBytes   int

	mu    sync.RWMutex // guards everything below
	young map[string]V
	old   map[string]V
	bytes int // of the keys in young
}

// NewCache is a cache of at most maxEntries entries whose keys take at most maxBytes bytes.
func NewCache[V any](maxEntries, maxBytes int) *Cache[V] {
	return &Cache[V]{maxEntries: max(2, maxEntries), maxBytes: max(2, maxBytes), young: map[string]V{}}
}

// Get is the value of key. A hit does not allocate.
func (c *Cache[V]) Get(key []byte) (V, bool) {
	c.mu.RLock()
	v, ok := c.young[string(key)]
	if ok {
		c.mu.RUnlock()
		return v, true
	}
	v, ok = c.old[string(key)]
	c.mu.RUnlock()
	if ok {
		c.Put(key, v)
	}
	return v, ok
}

// Put remembers v under key.
func (c *Cache[V]) Put(key []byte, v V) {
	if len(key) > maxKey {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[string(key)]; ok {
		c.young[string(key)] = v
		return
	}
	if len(c.young) >= c.maxEntries/2 || c.bytes+len(key) > c.maxBytes/2 {
		c.old, c.young, c.bytes = c.young, map[string]V{}, 0
	}
	c.young[string(key)] = v
	c.bytes += len(key)
}

// Len is the number of entries held.
func (c *Cache[V]) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := len(c.young)
	for key := range c.old {
		if _, ok := c.young[key]; !ok {
			n++
		}
	}
	return n
}

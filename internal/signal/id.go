// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"time"
)

// NewID returns the identity of a signal: 128 bits of SHA-256, in hex, over its kind, its target and the start of the episode. The
// same episode seen twice, in two processes or in a replay, has the same id. key holds target attributes that are part of the
// identity whether or not they may be shown; it may be nil.
func NewID(kind string, target Target, key map[string]string, episodeStart time.Time) string {
	h := sha256.New()
	for _, part := range []string{kind, target.Service, target.Namespace, target.Environment, target.Revision, target.Objective} {
		writePart(h, part)
	}
	for _, name := range slices.Sorted(maps.Keys(key)) {
		writePart(h, name)
		writePart(h, key[name])
	}
	writePart(h, episodeStart.UTC().Format(time.RFC3339Nano))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// writePart prefixes each part with its length, so that no two lists of parts hash alike.
func writePart(h hash.Hash, part string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	h.Write(length[:])
	h.Write([]byte(part))
}

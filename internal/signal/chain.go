// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Chain is the head of a hash chain over envelopes. Each record's hash covers its number, the hash of the record before it and the
// canonical JSON of the envelope without its audit entry, so that a record changed, removed or put elsewhere breaks every later one.
// The zero value is an empty chain. It is not safe for concurrent use.
type Chain struct {
	// Seq is the number of the last record; the first is 1.
	Seq uint64
	// Hash is the hash of the last record.
	Hash string
}

// genesis stands for the hash of the record before the first.
var genesis = strings.Repeat("0", 2*sha256.Size)

var errChain = errors.New("ledger is broken")

// Append numbers the envelope, links it to the record before it and moves the head. The head stays where it is on an error.
func (c *Chain) Append(e Envelope) (Envelope, error) {
	prev := c.Hash
	if prev == "" {
		prev = genesis
	}
	sum, err := link(e, c.Seq+1, prev)
	if err != nil {
		return Envelope{}, err
	}
	c.Seq++
	c.Hash = sum
	e.Audit = &Audit{Seq: c.Seq, PrevHash: prev, Hash: sum}
	return e, nil
}

// Verify checks that records follow one another without a gap and that none was changed, and returns the head they lead to. The
// first record may have any number, since a bounded ledger forgets its oldest; what came before it is not vouched for.
func Verify(records []Envelope) (Chain, error) {
	var head Chain
	for i, e := range records {
		if e.Audit == nil {
			return Chain{}, fmt.Errorf("%w: record %d has no audit entry", errChain, i)
		}
		if i > 0 && (e.Audit.Seq != head.Seq+1 || e.Audit.PrevHash != head.Hash) {
			return Chain{}, fmt.Errorf("%w: record %d does not follow record %d", errChain, e.Audit.Seq, head.Seq)
		}
		sum, err := link(e, e.Audit.Seq, e.Audit.PrevHash)
		if err != nil {
			return Chain{}, err
		}
		if sum != e.Audit.Hash {
			return Chain{}, fmt.Errorf("%w: record %d was changed", errChain, e.Audit.Seq)
		}
		head = Chain{Seq: e.Audit.Seq, Hash: sum}
	}
	return head, nil
}

func link(e Envelope, seq uint64, prev string) (string, error) {
	e.Audit = nil
	data, err := e.MarshalCanonical()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write([]byte(strconv.FormatUint(seq, 10) + "\n" + prev + "\n"))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)), nil
}

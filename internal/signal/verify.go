// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strconv"
)

// auditKey begins the audit entry of a record, which is its last field.
var auditKey = []byte(`,"audit":`)

// closing ends a record without an audit entry.
var closing = []byte{'}'}

// Verifier checks the records of a ledger in the form in which they are kept, one after another, without decoding what they say: so it
// goes at the speed of SHA-256, and no byte of a record is outside what it checks. Records must be canonical JSON, as the ledger, its
// API and the file sink write them. The zero value expects any first record. It is not safe for concurrent use.
type Verifier struct {
	first   uint64
	seq     uint64
	last    [2 * sha256.Size]byte
	records uint64
	hash    hash.Hash
	scratch []byte
}

// Add checks the next record.
func (v *Verifier) Add(record []byte) error {
	at := bytes.LastIndex(record, auditKey)
	if at < 0 || record[len(record)-1] != '}' {
		return fmt.Errorf("%w: record %d has no audit entry", errChain, v.records+1)
	}
	entry := record[at+len(auditKey) : len(record)-1]
	audit, ok := readAudit(entry)
	if !ok {
		return fmt.Errorf("%w: audit entry of record %d is not in the form in which it was written", errChain, v.records+1)
	}
	if v.records > 0 && (audit.seq != v.seq+1 || !bytes.Equal(audit.prev, v.last[:])) {
		return fmt.Errorf("%w: record %d does not follow record %d", errChain, audit.seq, v.seq)
	}
	if !bytes.Equal(audit.hash, v.sum(audit, record[:at])) {
		return fmt.Errorf("%w: record %d was changed", errChain, audit.seq)
	}
	if v.records == 0 {
		v.first = audit.seq
	}
	v.records++
	v.seq = audit.seq
	copy(v.last[:], audit.hash)
	return nil
}

// auditEntry is an audit entry in the bytes of its record.
type auditEntry struct {
	seq        uint64
	prev, hash []byte
}

// readAudit reads an entry that is written as encoding/json writes an Audit, and no other.
func readAudit(entry []byte) (a auditEntry, ok bool) {
	rest, ok := bytes.CutPrefix(entry, []byte(`{"seq":`))
	if !ok {
		return a, false
	}
	digits, rest, ok := bytes.Cut(rest, []byte(`,"prev_hash":"`))
	if !ok || len(digits) == 0 || len(digits) > 20 || digits[0] == '0' {
		return a, false
	}
	for _, digit := range digits {
		if digit < '0' || digit > '9' || a.seq > (math.MaxUint64-9)/10 {
			return a, false
		}
		a.seq = a.seq*10 + uint64(digit-'0')
	}
	const size = 2 * sha256.Size
	if len(rest) < size {
		return a, false
	}
	a.prev = rest[:size]
	rest, ok = bytes.CutPrefix(rest[size:], []byte(`","hash":"`))
	if !ok || len(rest) != size+len(`"}`) || string(rest[size:]) != `"}` {
		return a, false
	}
	a.hash = rest[:size]
	return a, true
}

// sum is link, over the bytes of a record up to its audit entry.
func (v *Verifier) sum(audit auditEntry, body []byte) []byte {
	if v.hash == nil {
		v.hash = sha256.New()
	}
	v.hash.Reset()
	v.scratch = append(strconv.AppendUint(v.scratch[:0], audit.seq, 10), '\n')
	v.scratch = append(append(v.scratch, audit.prev...), '\n')
	v.hash.Write(v.scratch)
	v.hash.Write(body)
	v.hash.Write(closing)
	v.scratch = v.hash.Sum(v.scratch[:0])
	v.scratch = hex.AppendEncode(v.scratch, v.scratch)
	return v.scratch[sha256.Size:]
}

// Head is the last record that was checked.
func (v *Verifier) Head() Chain {
	if v.records == 0 {
		return Chain{}
	}
	return Chain{Seq: v.seq, Hash: string(v.last[:])}
}

// First is the number of the first record, which nothing vouches for: a bounded ledger forgets what came before it.
func (v *Verifier) First() uint64 { return v.first }

// Records is how many records were checked.
func (v *Verifier) Records() uint64 { return v.records }

// ReadLines checks the records of r, one a line. Errors name the line.
func (v *Verifier) ReadLines(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 4*MaxBytes)
	line := 0
	for lines.Scan() {
		line++
		if len(lines.Bytes()) == 0 {
			return fmt.Errorf("line %d: %w: the line is empty", line, errChain)
		}
		if err := v.Add(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("line %d: %w: longer than a record can be", line+1, errChain)
		}
		return err
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

func seal(body []byte) []byte {
	part := append([]byte(partMagic), snapshotVersion)
	return appendSum(append(part, body...))
}

func appendSum(part []byte) []byte {
	return binary.BigEndian.AppendUint32(part, crc32.Checksum(part, castagnoli))
}

// open gets and checks one part; nil when there is none.
func open(get func(string) ([]byte, error), key string) ([]byte, error) {
	part, err := get(key)
	if err != nil || part == nil {
		return nil, err
	}
	const head, tail = len(partMagic) + 1, 4
	if len(part) < head+tail || string(part[:len(partMagic)]) != partMagic {
		return nil, ErrDamaged
	}
	body, sum := part[:len(part)-tail], binary.BigEndian.Uint32(part[len(part)-tail:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, ErrDamaged
	}
	if version := body[len(partMagic)]; version > snapshotVersion {
		return nil, fmt.Errorf("%w: part %q has version %d, this one reads up to %d", ErrVersion, key, version, snapshotVersion)
	}
	if version := body[len(partMagic)]; version < snapshotVersion {
		return nil, fmt.Errorf("%w: part %q has version %d, written before the first release", ErrDamaged, key, version)
	}
	return body[head:], nil
}

type encoder []byte

func (w *encoder) uint(v uint64) { *w = binary.AppendUvarint(*w, v) }

func (w *encoder) int(v int64) { *w = binary.AppendVarint(*w, v) }

func (w *encoder) text(v string) { w.uint(uint64(len(v))); *w = append(*w, v...) }

func (w *encoder) bytes(v []byte) { *w = append(*w, v...) }

func (w *encoder) flag(v bool) {
	if v {
		w.uint(1)
		return
	}
	w.uint(0)
}

func (w *encoder) counts(c Counts) {
	w.weighted(c.Good, c.GoodN)
	w.weighted(c.Bad, c.BadN)
}

// weighted writes the weight only where it is not that of n unsampled events: mostly it is.
func (w *encoder) weighted(weight Weight, n uint32) {
	if weight == Weight(n)*One {
		w.uint(uint64(n) << 1)
		return
	}
	w.uint(uint64(n)<<1 | 1)
	w.uint(uint64(weight))
}

// decoder reads what encoder wrote. After the first failure it returns zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 && !d.failed {
		v := uint64(d.rest[0])
		d.rest = d.rest[1:]
		return v
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.failed {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) int() int64 {
	v := d.uint()
	return int64(v>>1) ^ -int64(v&1) // zigzag, as binary.AppendVarint writes it
}

func (d *decoder) bytes(n uint64) []byte {
	if d.failed || n > uint64(len(d.rest)) {
		d.failed = true
		return nil
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) text() string { return string(d.bytes(d.uint())) }

func (d *decoder) flag() bool { return d.uint() == 1 }

func (d *decoder) counts() Counts {
	var c Counts
	c.Good, c.GoodN = d.weighted()
	c.Bad, c.BadN = d.weighted()
	return c
}

func (d *decoder) weighted() (Weight, uint32) { return d.weightedAnd(maxCell) }

func (d *decoder) weightedAnd(most Weight) (Weight, uint32) {
	head := d.uint()
	n := uint32(head >> 1)
	if head&1 == 0 {
		return Weight(n) * One, n
	}
	return min(Weight(d.uint()), most), n
}

// length reads a count of items that take at least one byte each, so that a wrong one cannot ask for memory.
func (d *decoder) length() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.failed = true
		return 0
	}
	return int(n)
}

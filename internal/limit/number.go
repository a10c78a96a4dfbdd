// SPDX-License-Identifier: Apache-2.0

package limit

import "math"

// Number is the value of a data point: a 64-bit integer or a float.
type Number struct {
	bits    uint64
	isFloat bool
}

// Int makes an integer Number.
func Int(v int64) Number { return Number{bits: uint64(v)} }

// Float makes a floating-point Number.
func Float(v float64) Number { return Number{bits: math.Float64bits(v), isFloat: true} }

// IsFloat tells whether the number is floating point.
func (n Number) IsFloat() bool { return n.isFloat }

// Int64 returns the integer; it is meaningful only when IsFloat is false.
func (n Number) Int64() int64 { return int64(n.bits) }

// Float64 returns the value as a float, rounded when an integer does not fit.
func (n Number) Float64() float64 {
	if n.isFloat {
		return math.Float64frombits(n.bits)
	}
	return float64(int64(n.bits))
}

// finite tells whether the value is neither NaN nor infinite.
func (n Number) finite() bool {
	if !n.isFloat {
		return true
	}
	f := math.Float64frombits(n.bits)
	return !math.IsNaN(f) && !math.IsInf(f, 0)
}

// less compares exactly where both are integers.
func (n Number) less(o Number) bool {
	if !n.isFloat && !o.isFloat {
		return n.Int64() < o.Int64()
	}
	return n.Float64() < o.Float64()
}

func (n Number) negative() bool {
	if n.isFloat {
		return n.Float64() < 0
	}
	return n.Int64() < 0
}

// minus returns n − o, in integers where both are and the result fits.
func (n Number) minus(o Number) Number {
	if !n.isFloat && !o.isFloat {
		if d, ok := subInt(n.Int64(), o.Int64()); ok {
			return Int(d)
		}
	}
	return Float(n.Float64() - o.Float64())
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func subInt(a, b int64) (int64, bool) {
	d := a - b
	return d, (d < a) == (b > 0)
}

// accumulator adds numbers without losing any: integers exactly, floats in double-double arithmetic (Knuth's TwoSum), whose
// error stays near 1e-32 of the largest term. It turns to floats for good when a float or an integer overflow comes in.
type accumulator struct {
	whole   int64
	hi, lo  float64
	isFloat bool
}

func (a *accumulator) add(n Number) {
	if n.isFloat {
		a.isFloat = true
		a.addFloat(n.Float64())
		return
	}
	if s, ok := addInt(a.whole, n.Int64()); ok {
		a.whole = s
		return
	}
	a.isFloat = true
	a.addInt(a.whole, 1)
	a.addInt(n.Int64(), 1)
	a.whole = 0
}

func (a *accumulator) sub(n Number) {
	if n.isFloat {
		a.isFloat = true
		a.addFloat(-n.Float64())
		return
	}
	if d, ok := subInt(a.whole, n.Int64()); ok {
		a.whole = d
		return
	}
	a.isFloat = true
	a.addInt(a.whole, 1)
	a.addInt(n.Int64(), -1)
	a.whole = 0
}

// addInt adds an integer in two halves, each of which a float holds exactly.
func (a *accumulator) addInt(v int64, sign float64) {
	a.addFloat(sign * float64(v>>32) * (1 << 32))
	a.addFloat(sign * float64(v&0xffffffff))
}

func (a *accumulator) addFloat(v float64) { a.hi, a.lo = twoSum(a.hi, a.lo, v) }

// twoSum adds v to hi + lo (Knuth 1969, section 4.2.2). A sum beyond all floats stays at the largest: what is infinite once is never
// a number again.
func twoSum(hi, lo, v float64) (float64, float64) {
	s := hi + v
	if math.IsInf(s, 0) {
		return math.Copysign(math.MaxFloat64, s), 0
	}
	b := s - hi
	return s, lo + ((hi - (s - b)) + (v - b))
}

// value rounds once, at the end.
func (a *accumulator) value() Number {
	if !a.isFloat {
		return Int(a.whole)
	}
	all := *a
	all.addInt(a.whole, 1)
	return Float(all.lo + all.hi)
}

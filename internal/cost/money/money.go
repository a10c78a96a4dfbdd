// SPDX-License-Identifier: Apache-2.0

// Package money holds amounts of money and the quantities they are made from as exact decimals.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// Limits of what Parse accepts. They bound the work that one hostile cell of a bill can cause: an exact sum of 1e99999 and 1 has a
// hundred thousand digits.
const (
	maxLength   = 64
	maxExponent = 24
	minExponent = -36
)

var (
	errNotNumber  = errors.New("not a decimal number")
	errOutOfRange = errors.New("decimal number out of range")
	errNoWeight   = errors.New("weights must be non-negative and at least one positive")
)

// Amount is an exact decimal number. The zero value is 0. Amounts are never changed in place, so a copy is a value of its own.
type Amount struct {
	d apd.Decimal
}

// Parse reads a plain or scientific decimal number. NaN, infinities, more than 64 characters and exponents outside [-36, 24] are refused.
func Parse(s string) (Amount, error) {
	if s == "" || len(s) > maxLength {
		return Amount{}, fmt.Errorf("%w: %q", errNotNumber, clip(s))
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return Amount{}, fmt.Errorf("%w: %q", errNotNumber, clip(s))
		}
	}
	var a Amount
	if _, _, err := a.d.SetString(s); err != nil || a.d.Form != apd.Finite {
		return Amount{}, fmt.Errorf("%w: %q", errNotNumber, clip(s))
	}
	if a.d.Exponent > maxExponent || a.d.Exponent < minExponent {
		return Amount{}, fmt.Errorf("%w: %q", errOutOfRange, clip(s))
	}
	return a, nil
}

// MustParse is Parse for constants; it panics on what Parse refuses.
func MustParse(s string) Amount {
	a, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

// FromInt is the whole number i.
func FromInt(i int64) Amount {
	var a Amount
	a.d.SetInt64(i)
	return a
}

// FromFloat is the shortest decimal that reads back as f, cut at 18 digits after the point. Not a number, infinite or beyond 1e24: an error.
func FromFloat(f float64) (Amount, error) {
	if math.IsNaN(f) || math.Abs(f) > 1e24 {
		return Amount{}, fmt.Errorf("%w: %v", errOutOfRange, f)
	}
	if f != 0 && math.Abs(f) < 1e-6 {
		return Parse(strconv.FormatFloat(f, 'f', 18, 64))
	}
	return Parse(strconv.FormatFloat(f, 'g', -1, 64))
}

// FromTwosComplement is the whole number whose big-endian two's complement is b, as columnar files store decimals.
func FromTwosComplement(b []byte) Amount {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return fromUnits(n, 0)
}

// Plus is a + b, exactly.
func (a Amount) Plus(b Amount) Amount {
	var r Amount
	_, _ = apd.BaseContext.Add(&r.d, &a.d, &b.d)
	return r
}

// Minus is a − b, exactly.
func (a Amount) Minus(b Amount) Amount {
	var r Amount
	_, _ = apd.BaseContext.Sub(&r.d, &a.d, &b.d)
	return r
}

// Times is a × b, exactly.
func (a Amount) Times(b Amount) Amount {
	var r Amount
	_, _ = apd.BaseContext.Mul(&r.d, &a.d, &b.d)
	return r
}

// Over is a ÷ b to 34 significant digits, half to even; 0 when b is 0.
func (a Amount) Over(b Amount) Amount {
	var r Amount
	if b.IsZero() {
		return r
	}
	_, _ = quotient.Quo(&r.d, &a.d, &b.d)
	return r
}

var quotient = func() *apd.Context {
	c := apd.BaseContext.WithPrecision(34)
	c.Rounding = apd.RoundHalfEven
	return c
}()

// Round is a with at most places digits after the point, half to even.
func (a Amount) Round(places int) Amount {
	if -a.d.Exponent <= int32(places) {
		return a
	}
	var r Amount
	_, _ = rounding.Quantize(&r.d, &a.d, -int32(places))
	return r
}

var rounding = func() *apd.Context {
	c := apd.BaseContext.WithPrecision(200)
	c.Rounding = apd.RoundHalfEven
	return c
}()

// Neg is −a.
func (a Amount) Neg() Amount {
	var r Amount
	r.d.Neg(&a.d)
	return r
}

// Abs is |a|.
func (a Amount) Abs() Amount {
	var r Amount
	r.d.Abs(&a.d)
	return r
}

// Cmp is −1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return a.d.Cmp(&b.d) }

// Sign is −1, 0 or 1.
func (a Amount) Sign() int { return a.d.Sign() }

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a.d.IsZero() }

// Float64 is the nearest float: the last step before a data point, never a step of a sum.
func (a Amount) Float64() float64 {
	f, err := strconv.ParseFloat(a.d.Text('E'), 64)
	if err != nil {
		return 0
	}
	return f
}

// String is a in plain notation, every digit kept and trailing zeros dropped.
func (a Amount) String() string {
	if a.d.IsZero() {
		return "0"
	}
	var r apd.Decimal
	r.Reduce(&a.d)
	return r.Text('f')
}

// MarshalText is String, for snapshots and reports.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is Parse.
func (a *Amount) UnmarshalText(text []byte) error {
	// A sum may have outgrown what one cell of a bill is allowed.
	var r Amount
	if len(text) > 4*maxLength {
		return errOutOfRange
	}
	if _, _, err := r.d.SetString(string(text)); err != nil || r.d.Form != apd.Finite || r.d.Exponent > maxExponent || r.d.Exponent < 2*minExponent {
		return fmt.Errorf("%w: %q", errNotNumber, clip(string(text)))
	}
	*a = r
	return nil
}

// Sum is the exact sum of the amounts.
func Sum(amounts ...Amount) Amount {
	var r Amount
	for _, a := range amounts {
		r = r.Plus(a)
	}
	return r
}

// splitDigits is how many digits beyond those of the total a part carries.
const splitDigits = 12

// Split divides total among the weights so that the parts add up to total exactly: each part is rounded down at a fixed digit and the
// units left over go to the largest remainders, the earlier part first (largest-remainder method; A. Hamilton, 1792). All weights must be
// at least 0 and one of them positive.
func Split(total Amount, weights []Amount) ([]Amount, error) {
	var weightSum Amount
	exponent := int32(0)
	for _, w := range weights {
		if w.Sign() < 0 {
			return nil, errNoWeight
		}
		exponent = min(exponent, w.d.Exponent)
		weightSum = weightSum.Plus(w)
	}
	if weightSum.IsZero() {
		return nil, errNoWeight
	}
	unit := min(total.d.Exponent, 0) - splitDigits
	all := total.units(unit)
	negative := all.Sign() < 0
	all.Abs(all)
	divisor := weightSum.units(exponent)

	type part struct {
		units, rest big.Int
		index       int
	}
	parts := make([]part, len(weights))
	left := new(big.Int).Set(all)
	for i, w := range weights {
		p := &parts[i]
		p.index = i
		p.units.QuoRem(new(big.Int).Mul(all, w.units(exponent)), divisor, &p.rest)
		left.Sub(left, &p.units)
	}
	order := make([]*part, len(parts))
	for i := range parts {
		order[i] = &parts[i]
	}
	slices.SortStableFunc(order, func(a, b *part) int { return b.rest.Cmp(&a.rest) })
	one := big.NewInt(1)
	for i := 0; left.Sign() > 0; i++ {
		order[i].units.Add(&order[i].units, one)
		left.Sub(left, one)
	}
	out := make([]Amount, len(weights))
	for i := range parts {
		u := &parts[i].units
		if negative {
			u.Neg(u)
		}
		out[i] = fromUnits(u, unit)
	}
	return out, nil
}

// units is a ÷ 10^exponent as a whole number; exponent must not be above a's own.
func (a Amount) units(exponent int32) *big.Int {
	u := new(big.Int).Set(a.d.Coeff.MathBigInt())
	if a.d.Exponent > exponent {
		u.Mul(u, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(a.d.Exponent-exponent)), nil))
	}
	if a.d.Negative {
		u.Neg(u)
	}
	return u
}

func fromUnits(u *big.Int, exponent int32) Amount {
	var a Amount
	a.d.Coeff.SetMathBigInt(new(big.Int).Abs(u))
	a.d.Exponent = exponent
	a.d.Negative = u.Sign() < 0
	return a
}

func clip(s string) string {
	if len(s) > maxLength {
		return s[:maxLength] + "…"
	}
	return s
}

// SPDX-License-Identifier: Apache-2.0

package money_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

func TestSumsKeepEveryDigitThatFloatsLose(t *testing.T) {
	var sum money.Amount
	for range 10 {
		sum = sum.Plus(money.MustParse("0.1"))
	}
	assert.Equal(t, "1", sum.String())
	assert.Equal(t, "123456789012345678901234567890.000000000000000001",
		money.MustParse("123456789012345678901234567890").Plus(money.MustParse("0.000000000000000001")).String())
}

func TestParseRefusesWhatIsNotANumberOrWouldExplode(t *testing.T) {
	for _, bad := range []string{
		"", "NULL", "NaN", "Infinity", "-inf", "1,5", "1e99999", "1e-99999", "--1", "1.2.3", "0x10", " 1", "1 ", "1_000",
		"11111111111111111111111111111111111111111111111111111111111111111111",
	} {
		_, err := money.Parse(bad)
		assert.Error(t, err, "%q", bad)
	}
	for in, want := range map[string]string{"1.50": "1.5", "-3": "-3", "2E-3": "0.002", "+4": "4", "1e3": "1000", "0.000": "0", ".5": "0.5"} {
		a, err := money.Parse(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, a.String())
	}
}

func TestFromFloatRefusesWhatMoneyCannotBe(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30} {
		_, err := money.FromFloat(f)
		assert.Error(t, err)
	}
	for _, f := range []float64{0, 0.1, -2.25, 1e-7, 3e20} {
		a, err := money.FromFloat(f)
		require.NoError(t, err)
		assert.InDelta(t, f, a.Float64(), math.Abs(f)*1e-12)
	}
}

func TestCopiesOfLargeAmountsDoNotShareState(t *testing.T) {
	a := money.MustParse("123456789012345678901234567890123456789012345678901234567890")
	b := a
	c := a.Plus(money.FromInt(1))
	_ = c.Times(c)
	assert.Equal(t, 0, a.Cmp(b))
	assert.Equal(t, "1", c.Minus(b).String())
}

func TestArithmeticAgreesWithRationals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		x, y := random(rng), random(rng)
		rx, _ := new(big.Rat).SetString(x.String())
		ry, _ := new(big.Rat).SetString(y.String())
		for name, pair := range map[string][2]*big.Rat{
			"plus":  {rat(x.Plus(y)), new(big.Rat).Add(rx, ry)},
			"minus": {rat(x.Minus(y)), new(big.Rat).Sub(rx, ry)},
			"times": {rat(x.Times(y)), new(big.Rat).Mul(rx, ry)},
			"neg":   {rat(x.Neg()), new(big.Rat).Neg(rx)},
			"abs":   {rat(x.Abs()), new(big.Rat).Abs(rx)},
		} {
			require.Zero(t, pair[0].Cmp(pair[1]), "%s of %s and %s", name, x, y)
		}
		require.Equal(t, rx.Cmp(ry), x.Cmp(y))
	}
}

func TestSplitNeverCreatesOrLosesMoney(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		total := random(rng)
		weights := make([]money.Amount, 1+rng.IntN(40))
		for i := range weights {
			if rng.IntN(4) > 0 {
				weights[i] = random(rng).Abs()
			}
		}
		weights[rng.IntN(len(weights))] = money.MustParse("0.37")
		parts, err := money.Split(total, weights)
		require.NoError(t, err)
		require.Zero(t, money.Sum(parts...).Cmp(total), "parts of %s", total)
		weightSum := money.Sum(weights...)
		for i, p := range parts {
			exact := new(big.Rat).Quo(new(big.Rat).Mul(rat(total), rat(weights[i])), rat(weightSum))
			off, _ := new(big.Rat).Sub(rat(p), exact).Float64()
			require.LessOrEqual(t, math.Abs(off), 1e-12)
			if weights[i].IsZero() {
				require.LessOrEqual(t, math.Abs(p.Float64()), 1e-12)
			}
		}
	}
}

func TestSplitRefusesWeightsThatCannotCarryTheTotal(t *testing.T) {
	one := money.FromInt(1)
	for _, weights := range [][]money.Amount{nil, {{}}, {{}, {}}, {one, one.Neg()}} {
		_, err := money.Split(one, weights)
		assert.Error(t, err)
	}
}

func TestQuotientsAndRounding(t *testing.T) {
	third := money.FromInt(1).Over(money.FromInt(3))
	assert.Equal(t, "0.3333333333333333333333333333333333", third.String())
	assert.Equal(t, "0.33", third.Round(2).String())
	assert.Equal(t, "0.12", money.MustParse("0.125").Round(2).String())
	assert.Equal(t, "1.5", money.MustParse("1.5").Round(4).String())
	assert.True(t, money.FromInt(1).Over(money.Amount{}).IsZero())
}

func TestTextFormRoundTripsAndRefusesNonsense(t *testing.T) {
	a := money.MustParse("-20.52022672899")
	text, err := a.MarshalText()
	require.NoError(t, err)
	var b money.Amount
	require.NoError(t, b.UnmarshalText(text))
	assert.Zero(t, a.Cmp(b))
	for _, bad := range []string{"", "x", "NaN", "1e999999"} {
		assert.Error(t, b.UnmarshalText([]byte(bad)))
	}
	assert.Error(t, b.UnmarshalText(make([]byte, 1000)))
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1", "-0.5", "1e10", "NULL", "1e-36", "9999999999999999999999999.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := money.Parse(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		require.True(t, ok, "%q", s)
		require.Zero(t, rat(a).Cmp(want))
	})
}

func BenchmarkPlus(b *testing.B) {
	b.ReportAllocs()
	x, y := money.MustParse("20.52022672899"), money.MustParse("0.00000080000")
	for b.Loop() {
		x = x.Plus(y)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = money.Parse("0.22750469072520")
	}
}

func random(rng *rand.Rand) money.Amount {
	digits := []byte{}
	if rng.IntN(2) == 0 {
		digits = append(digits, '-')
	}
	for range 1 + rng.IntN(24) {
		digits = append(digits, byte('0'+rng.IntN(10)))
	}
	digits = append(digits, '.')
	for range 1 + rng.IntN(15) {
		digits = append(digits, byte('0'+rng.IntN(10)))
	}
	return money.MustParse(string(digits))
}

func rat(a money.Amount) *big.Rat {
	r, _ := new(big.Rat).SetString(a.String())
	return r
}

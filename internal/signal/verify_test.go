// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines is a ledger of n records as JSON lines.
func lines(tb testing.TB, n int) []byte {
	tb.Helper()
	var chain Chain
	var out []byte
	for i := range n {
		e := full()
		e.Update = i
		e.Summary = `quotes "x","audit":{} and <angles>`
		e, err := chain.Append(e)
		require.NoError(tb, err)
		data, err := e.MarshalCanonical()
		require.NoError(tb, err)
		out = append(append(out, data...), '\n')
	}
	return out
}

func TestALedgerAsItIsKeptIsVerified(t *testing.T) {
	kept := lines(t, 50)
	var v Verifier
	require.NoError(t, v.ReadLines(bytes.NewReader(kept)))
	assert.EqualValues(t, 50, v.Records())
	assert.EqualValues(t, 1, v.First())
	assert.EqualValues(t, 50, v.Head().Seq)

	// A bounded ledger begins anywhere.
	later := bytes.SplitAfter(kept, []byte("\n"))[20:]
	var tail Verifier
	require.NoError(t, tail.ReadLines(bytes.NewReader(bytes.Join(later, nil))))
	assert.EqualValues(t, 21, tail.First())
	assert.Equal(t, v.Head(), tail.Head())
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	kept := lines(t, 3)
	for at := range kept {
		for bit := range 8 {
			changed := bytes.Clone(kept)
			changed[at] ^= 1 << bit
			if at == len(kept)-1 {
				continue // the end of the last line is not part of a record
			}
			var v Verifier
			require.Error(t, v.ReadLines(bytes.NewReader(changed)), "byte %d, bit %d", at, bit)
		}
	}
}

func TestRecordsRemovedMovedOrDoubledAreFound(t *testing.T) {
	records := bytes.SplitAfter(lines(t, 20), []byte("\n"))[:20]
	source := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		i, j := 1+source.IntN(18), 1+source.IntN(18)
		if i == j {
			continue
		}
		moved := append([][]byte(nil), records...)
		moved[i], moved[j] = moved[j], moved[i]
		removed := append(append([][]byte(nil), records[:i]...), records[i+1:]...)
		doubled := append(append(append([][]byte(nil), records[:i]...), records[i]), records[i:]...)
		for name, broken := range map[string][][]byte{"moved": moved, "removed": removed, "doubled": doubled} {
			var v Verifier
			require.Error(t, v.ReadLines(bytes.NewReader(bytes.Join(broken, nil))), "%s %d %d", name, i, j)
		}
	}
}

func TestWhatIsNoLedgerIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing signed": `{"id":"x"}`,
		"no JSON":        "\x00\x01",
		"empty line":     "\n",
		"audit alone":    `,"audit":{"seq":1,"prev_hash":"","hash":""}}`,
		"broken audit":   `{"id":"x","audit":{"seq":-1}}`,
		"endless":        string(bytes.Repeat([]byte("a"), 8*MaxBytes)),
	} {
		var v Verifier
		assert.Error(t, v.ReadLines(bytes.NewReader([]byte(text))), name)
	}
}

func FuzzVerifier(f *testing.F) {
	f.Add(lines(f, 2))
	f.Add([]byte(`,"audit":}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v Verifier
		if v.ReadLines(bytes.NewReader(data)) == nil && v.Records() > 0 {
			assert.NotEmpty(t, v.Head().Hash)
		}
	})
}

func BenchmarkVerifyLines(b *testing.B) {
	const records = 10_000
	kept := lines(b, records)
	b.SetBytes(int64(len(kept)))
	b.ReportAllocs()
	for b.Loop() {
		var v Verifier
		if err := v.ReadLines(bytes.NewReader(kept)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
)

// fixtures are all files of the public bills, but for what is said about them.
func fixtures(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, set := range []string{"focus", "opencost-azure"} {
		root := recordings.Path(t, "fixtures", set)
		require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) == ".md" || strings.HasPrefix(entry.Name(), "LICENSE") {
				return err
			}
			text, err := os.ReadFile(filepath.Clean(path))
			if err != nil {
				return err
			}
			name, err := filepath.Rel(filepath.Dir(root), path)
			files[filepath.ToSlash(name)] = text
			return err
		}))
	}
	return files
}

// cut is the text up to the middle of the row that follows a place.
func cut(text []byte, at int) []byte {
	row := at + bytes.IndexByte(text[at:], '\n') + 1
	end := row + bytes.IndexByte(text[row:], '\n')
	return text[:row+(end-row)/3]
}

// Every file of the public bills is read, or refused with its name, line, column and a reason. Each arrives in pieces first, as it would
// from a slow copy, plain and compressed, and is written again. Nothing counts twice.
func TestEveryPublicBillIsReadOnceOrRefusedWithItsPlace(t *testing.T) {
	files := fixtures(t)
	read, refused := 0, 0
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, ".csv", filepath.Ext(name), "a kind of file that this test does not know")
			plain := filepath.Base(name)
			want := wantOf(t, text)
			for _, stored := range []string{plain, plain + ".gz"} {
				content := func(text []byte) []byte { return text }
				if strings.HasSuffix(stored, ".gz") {
					content = func(text []byte) []byte { return zipped(t, text) }
				}
				core, logs := observer.New(zap.ErrorLevel)
				g := newRig(t, func(c *Config) { c.GiveUp = 24 * time.Hour })
				g.logger = zap.New(core)
				if want == "" {
					g.put(stored, content(text))
					g.look()
					g.look()
					assert.Equal(t, outcomeRefused, g.outcome(stored))
					require.Equal(t, 1, logs.Len(), "refused once, with the reason")
					entry := logs.All()[0].ContextMap()
					assert.Equal(t, stored, entry["file"])
					assert.Regexp(t, `line \d+, column \d+.*: .{10,}`, entry["error"])
					assert.Empty(t, g.sink.AllMetrics(), "nothing of it counts")
					continue
				}
				for k := range 4 {
					part := cut(text, k*len(text)/5)
					if strings.HasSuffix(stored, ".gz") {
						whole := content(text)
						part = whole[:len(whole)*(k+1)/5]
					} else {
						part = content(part)
					}
					g.put(stored, part)
					g.look()
					assert.Empty(t, g.outcome(stored), "cut in place %d: it is waited for", k)
					assert.Empty(t, g.sink.AllMetrics())
				}
				for range 3 { // written again and again, and looked at more than once
					g.put(stored, content(text))
					g.look()
					g.look()
					assert.Equal(t, outcomeRead, g.outcome(stored), "%v", logs.All())
					assert.Equal(t, want, g.bill.Totals()[focus.Effective].String())
					assert.InDelta(t, money.MustParse(want).Float64(), money.MustParse(g.sink.total(t, "cost.effective")).Float64(), 1e-9, "points add up to it once")
				}
			}
			if want == "" {
				refused++
			} else {
				read++
			}
		})
	}
	assert.Equal(t, 4, read)
	assert.Equal(t, 12, refused)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: "Dirty input: public bills, plain and compressed, cut, written again, looked at again",
		Reached: fmt.Sprintf("%d read once, %d refused with file, line, column and reason, of %d", read, refused, len(files)),
		Wanted:  "all read or refused, none twice", Command: "go test -run EveryPublicBill ./receiver/focusreceiver",
	})
}

// wantOf is the effective cost of a bill; empty where it is no bill that can be read. The column is added up once more, in fractions, by
// nothing of ours.
func wantOf(t *testing.T, text []byte) string {
	t.Helper()
	src, err := focus.OpenCSV(bytes.NewReader(text))
	if err == nil {
		var r focus.Report
		if r, err = focus.ReadAll(src, func(*focus.Charge) error { return nil }); err == nil {
			rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))).ReadAll()
			require.NoError(t, err)
			at := slices.Index(rows[0], "EffectiveCost")
			sum := new(big.Rat)
			for _, row := range rows[1:] {
				amount, ok := new(big.Rat).SetString(row[at])
				require.True(t, ok, row[at])
				sum.Add(sum, amount)
			}
			total, ok := new(big.Rat).SetString(r.Totals[focus.Effective].String())
			require.True(t, ok)
			require.Zero(t, sum.Cmp(total))
			return r.Totals[focus.Effective].String()
		}
	}
	var refused *focus.Refused
	require.ErrorAs(t, err, &refused)
	assert.Positive(t, refused.Line)
	assert.Positive(t, refused.Column)
	return ""
}

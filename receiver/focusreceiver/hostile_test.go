// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
)

func TestHostileFilesAreRefusedWithTheirPlaceAndNothingCounts(t *testing.T) {
	good := row("1", "5", "02", "a")
	accounts := strings.Builder{}
	for i := range 10_001 {
		accounts.WriteString(strings.Replace(good, ",acc,", fmt.Sprintf(",acc-%d,", i), 1))
	}
	wide := utf16.Encode([]rune("\ufeff" + header + good))
	spreadsheet := make([]byte, 0, 2*len(wide))
	for _, u := range wide {
		spreadsheet = append(spreadsheet, byte(u), byte(u>>8))
	}
	for name, c := range map[string]struct{ text, says string }{
		"forgotten quote":  {header + good + strings.Replace(good, ",acc,", `,"acc,`, 1) + strings.Repeat(good, 20_000), "line 3, column 1: row is longer than 1048576 bytes"},
		"one long line":    {header + good + strings.Repeat("x", 3<<20), "line 3, column 1: row is longer"},
		"long header":      {strings.Repeat("x,", 3<<20), "row is longer"},
		"quote in a field": {header + strings.Replace(good, ",acc,", `,a"cc,`, 1) + good, `line 2, column 98: bare "`},
		"NUL in a cost":    {header + strings.Replace(good, "1,", "1\x00,", 1), "line 2, column 1 (BilledCost): not a decimal"},
		"1e400":            {header + strings.Replace(good, "1,", "1e400,", 1), "line 2, column 1 (BilledCost)"},
		"-1e400":           {header + strings.Replace(good, "1,", "-1e400,", 1), "line 2, column 1 (BilledCost)"},
		"infinity":         {header + strings.Replace(good, "1,", "Infinity,", 1), "line 2, column 1 (BilledCost)"},
		"not a number":     {header + strings.Replace(good, "1,", "NaN,", 1), "line 2, column 1 (BilledCost)"},
		"comma as point":   {header + strings.Replace(good, "1,", `"1,50",`, 1), `line 2, column 1 (BilledCost): not a decimal number: "1,50"`},
		"dollars":          {header + strings.Replace(good, "USD", "$", 1), "(BillingCurrency): not a currency code"},
		"renamed header":   {strings.Replace(header, "EffectiveCost", "effective cost", 1) + good, "line 1, column 1: not a FOCUS Cost and Usage file: column EffectiveCost is missing"},
		"header twice":     {strings.Replace(header, "ListCost", "BilledCost", 1) + good, "line 1, column 41 (BilledCost): column occurs twice"},
		"a row too wide":   {header + good + strings.TrimSuffix(good, "\n") + ",x\n" + good, "line 3, column 1: wrong number of fields"},
		"UTF-16":           {string(spreadsheet), "line 1"},
		"other accounts":   {header + accounts.String(), "line 10002, column 13 (BillingPeriodStart): more than 10000 billing accounts"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.put("bill.csv", []byte(c.text))
			_, err := readFile(g.dir+"/bill.csv", g.cfg)
			var refused *focus.Refused
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.says)
			g.look()
			assert.Equal(t, outcomeRefused, g.outcome("bill.csv"))
			assert.Empty(t, g.sink.AllMetrics())
			assert.Empty(t, g.bill.Statements())
		})
	}
}

// What is odd and still a bill counts, to the last digit, and leaves as valid text.
func TestOddRowsCount(t *testing.T) {
	g := newRig(t, func(c *Config) { c.GroupBy = []string{"ServiceName", "SubAccountId", "tag:team"} })
	pair := func(service, account string) string {
		return strings.Replace(row("1", "5", "02", service), ",sub,", ","+account+",", 1)
	}
	g.put("bill.csv", []byte("\ufeff"+header+
		row("10", "5", "02", "a")+row("10", "5", "02", "a")+ // twice in the bill: bills have no row number that would tell
		row("-3.000000000000000000001", "5", "02", "a")+ // a credit
		strings.Replace(row("7", "5", "02", "a"), "USD", "JPY", 1)+
		row("1", "5", "02", "caf\xe9")+ // Latin-1
		row("1", "5", "02", strings.Repeat("é", 2000))+
		pair("x\x00y", "z")+pair("x", "y\x00z")+ // not to be taken for each other
		strings.Replace(row("1", "5", "02", "a"), "{}", `"{""team"":""a,\u0000b""}"`, 1)))
	g.look()
	require.Equal(t, outcomeRead, g.outcome("bill.csv"))
	totals := g.bill.Totals()
	assert.Equal(t, "28.999999999999999999999", totals[focus.Billed].String())
	sums, resources := map[string]float64{}, map[string]float64{}
	g.sink.each(func(resource map[string]any, m pmetric.Metric, dp pmetric.NumberDataPoint) {
		if m.Name() != "cost.billed" {
			return
		}
		currency, _ := dp.Attributes().Get("cost.currency")
		sums[currency.Str()] += dp.DoubleValue()
		for key, value := range resource {
			assert.True(t, utf8.ValidString(value.(string)), key)
			assert.LessOrEqual(t, len(value.(string)), 1024, key)
		}
		resources[fmt.Sprint(resource["focus.service_name"], "|", resource["cloud.account.id"])] += dp.DoubleValue()
	})
	assert.InDelta(t, 7, sums["JPY"], 1e-12, "no currency is added to another")
	assert.InDelta(t, 22, sums["USD"], 1e-12)
	assert.InDelta(t, 1, resources["x\x00y|z"], 1e-12)
	assert.InDelta(t, 1, resources["x|y\x00z"], 1e-12)
}

var errLater = errors.New("later")

func TestARestartInTheMiddleOfAFileSendsTheRestOnly(t *testing.T) {
	h, id := storageHost(t)
	rows := make([]string, 5)
	for i := range rows {
		rows[i] = row("2", "5", "02", fmt.Sprintf("s%d", i))
	}
	text := header + strings.Join(rows, "")
	start := func() (*rig, *Config) {
		g := newRig(t, nil)
		cfg := *g.cfg
		cfg.Storage, cfg.MaxPoints = &id, 1 // a request for each cell
		g.open(&cfg, h)
		return g, &cfg
	}
	g, cfg := start()
	g.sink.refuse = []error{nil, nil, errLater}
	g.put("bill.csv", []byte(text))
	g.look()
	assert.Equal(t, "4", g.sink.total(t, "cost.billed"), "two of five were accepted")
	require.NoError(t, g.store.close(t.Context())) // as a crash would leave it: nothing more is written

	g.open(cfg, h)
	g.look()
	g.look()
	assert.Equal(t, "10", g.sink.total(t, "cost.billed"), "the other three, and nothing twice")
	assert.Len(t, g.sink.AllMetrics(), 5)
	require.NoError(t, g.store.close(t.Context()))

	// The file changed meanwhile: what was sent of it is no guide to what has to be sent now.
	g.sink.refuse = []error{nil, errLater}
	g.open(cfg, h)
	g.put("bill.csv", []byte(strings.ReplaceAll(text, "2,2,2,2", "3,3,3,3")))
	g.look()
	assert.Equal(t, "11", g.sink.total(t, "cost.billed"))
	require.NoError(t, g.store.close(t.Context()))
	g.open(cfg, h)
	p := g.fresh(t, "bill.csv")
	p.requests[0], p.requests[1] = p.requests[1], p.requests[0]
	require.ErrorIs(t, g.store.resume(t.Context(), p), errProgress)
	p.requests = p.requests[:0]
	require.ErrorIs(t, g.store.resume(t.Context(), p), errProgress)
	assert.Zero(t, p.sent, "then it is sent from its beginning")
	require.NoError(t, g.store.close(t.Context()))
}

// fresh is the file as it would be sent from its beginning.
func (g *rig) fresh(t *testing.T, name string) *pending {
	t.Helper()
	files, err := list(g.cfg)
	require.NoError(t, err)
	for _, f := range files {
		if f.name == name {
			got, err := readFile(f.path, g.cfg)
			require.NoError(t, err)
			plan := g.bill.Plan(focus.File{Path: f.name, Delivery: f.name, Modified: f.stamp.Modified}, got.portion, nil)
			return &pending{file: f, plan: plan, content: got, requests: requests(g.cfg, plan.Changes)}
		}
	}
	t.Fatal("no such file: " + name)
	return nil
}

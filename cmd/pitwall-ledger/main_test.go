// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	ledger "github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record returns the nth record of a chain in its canonical form.
func record(tb testing.TB, chain *ledger.Chain, n int) []byte {
	tb.Helper()
	target := ledger.Target{Service: "checkout", Objective: "checkout-availability", Attributes: map[string]string{"http.route": "/cart"}}
	e, err := chain.Append(ledger.Envelope{
		ID: ledger.NewID(ledger.KindSLOBurn, target, nil, t0), Kind: ledger.KindSLOBurn, Version: ledger.Version, State: ledger.StateFiring,
		Severity: ledger.SeverityPage, Summary: "checkout burns <fast>", Target: target, Update: n,
		Action:     ledger.Action{Verb: "investigate", Risk: ledger.RiskNone},
		Confidence: ledger.Confidence{Value: 1, Method: "beta_posterior"},
		ValidFrom:  t0, UpdatedAt: t0.Add(time.Duration(n) * time.Second), ExpiresAt: t0.Add(time.Hour),
	})
	require.NoError(tb, err)
	data, err := e.MarshalCanonical()
	require.NoError(tb, err)
	return data
}

func records(t *testing.T, n int) [][]byte {
	t.Helper()
	var chain ledger.Chain
	var all [][]byte
	for i := range n {
		all = append(all, record(t, &chain, i))
	}
	return all
}

func command(t *testing.T, in string, args ...string) (code int, out, complaint string) {
	t.Helper()
	var o, c bytes.Buffer
	code = run(t.Context(), append([]string{"verify"}, args...), strings.NewReader(in), &o, &c)
	return code, o.String(), c.String()
}

func TestAFileIsVerified(t *testing.T) {
	all := records(t, 20)
	file := filepath.Join(t.TempDir(), "signals.jsonl")
	text := bytes.Join(all, []byte("\n"))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	code, out, _ := command(t, "", file)
	assert.Equal(t, exitWhole, code)
	assert.Contains(t, out, "records 1 to 20 follow one another")

	code, _, complaint := command(t, "", "-head", strings.Repeat("a", 64), file)
	assert.Equal(t, exitBroken, code)
	assert.Contains(t, complaint, "has the hash")

	broken := bytes.Replace(text, []byte(`"update":7`), []byte(`"update":8`), 1)
	code, _, complaint = command(t, string(broken), "-")
	assert.Equal(t, exitBroken, code)
	assert.Contains(t, complaint, "line 8")
	assert.Contains(t, complaint, "7 records before it are whole")

	code, out, _ = command(t, "", "-")
	assert.Equal(t, exitWhole, code)
	assert.Contains(t, out, "no records")
}

// serve answers like the extension, which keeps the records from first on.
func serve(t *testing.T, all [][]byte, first int, asked *http.Header) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.Header
		from, _ := strconv.Atoi(r.URL.Query().Get("from"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		from = max(from, first)
		var hash struct{ Audit ledger.Audit }
		if len(all) > 0 {
			_ = json.Unmarshal(all[len(all)-1], &hash)
		}
		var given [][]byte
		if from <= len(all) {
			given = all[from-1 : min(len(all), from-1+limit)]
		}
		fmt.Fprintf(w, `{"schema":"pitwall.ledger/v1","first":%d,"last":%d,"hash":%q,"records":[%s]}`, first, len(all), hash.Audit.Hash, bytes.Join(given, []byte(",")))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestARunningCollectorIsVerified(t *testing.T) {
	var asked http.Header
	all := records(t, 2*page+3)
	code, out, complaint := command(t, "", "-header", "Authorization: Bearer x", serve(t, all, 8, &asked))
	require.Equal(t, exitWhole, code, complaint)
	assert.Contains(t, out, fmt.Sprintf("records 8 to %d", len(all)))
	assert.Equal(t, "Bearer x", asked.Get("Authorization"))

	all[page+5] = bytes.Replace(all[page+5], []byte("checkout burns"), []byte("checkout learns"), 1)
	code, _, complaint = command(t, "", serve(t, all, 1, &asked))
	assert.Equal(t, exitBroken, code)
	assert.Contains(t, complaint, fmt.Sprintf("record %d was changed", page+6))

	code, out, _ = command(t, "", serve(t, nil, 1, &asked))
	assert.Equal(t, exitWhole, code)
	assert.Contains(t, out, "no records")
}

func TestWhatCannotBeReadIsNotCalledBroken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"schema":"pitwall.error/v1","error":"no"}`)
	}))
	t.Cleanup(server.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	t.Cleanup(page.Close)
	secret := filepath.Join(t.TempDir(), "header")
	require.NoError(t, os.WriteFile(secret, []byte("hunter2"), 0o600))
	for _, args := range [][]string{
		{filepath.Join(t.TempDir(), "absent")},
		{server.URL},
		{page.URL},
		{"http://127.0.0.1:1"},
		{},
		{"a", "b"},
		{"-nothing", "a"},
		{"-header", "@" + secret, server.URL},
		{"-header", "@/nothing", server.URL},
	} {
		code, _, complaint := command(t, "", args...)
		assert.Equal(t, exitUnread, code, args)
		assert.NotEmpty(t, complaint, args)
		assert.NotContains(t, complaint, "hunter2")
	}
	assert.Equal(t, exitUnread, run(t.Context(), []string{"forge"}, nil, &bytes.Buffer{}, &bytes.Buffer{}))
}

// A million records are read in one pass, in a bounded amount of memory; the time is written down and not asserted.
func TestAMillionRecords(t *testing.T) {
	n := 10_000
	if scale, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64); err == nil {
		n = max(n, int(scale*1_000_000))
	}
	var chain ledger.Chain
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	file, err := os.Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	var size int
	for i := range n {
		wrote, err := file.Write(append(record(t, &chain, i), '\n'))
		require.NoError(t, err)
		size += wrote
	}
	began := time.Now()
	code, out, complaint := command(t, "", "-head", chain.Hash, path)
	took := time.Since(began)
	require.Equal(t, exitWhole, code, complaint)
	assert.Contains(t, out, fmt.Sprintf("records 1 to %d", n))
	figures.Record(t, figures.Figure{
		Table: "The ledger", Row: fmt.Sprintf("%d records (%d MB) verified by pitwall-ledger", n, size>>20), Reached: took.Round(10 * time.Millisecond).String(),
		Wanted: "1,000,000 in less than 10 s", Command: "PITWALL_SCALE=1 go test -run AMillionRecords ./cmd/pitwall-ledger",
	})
}

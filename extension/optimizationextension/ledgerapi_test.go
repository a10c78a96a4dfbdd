// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/signal"
)

func TestTheLedgerIsServedInTheBytesItsHashesCover(t *testing.T) {
	id := component.MustNewID("file_storage")
	store := newFakeStorage()
	e, _ := start(t, host{id: store}, func(c *Config) { c.Storage = &id; c.Ledger.MaxRecords = 30 })
	for n := range 50 {
		s := envelope(n, signal.StateFiring)
		s.Summary = `<script> & "quotes",` + "\u2028"
		_, err := e.PublishSignal(t.Context(), s)
		require.NoError(t, err)
	}
	var v signal.Verifier
	for from := 1; ; from = int(v.Head().Seq) + 1 {
		_, body := request(t, e, http.MethodGet, fmt.Sprintf("/api/v1/ledger?limit=7&from=%d", from))
		var page ledgerAnswer
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		assert.Equal(t, schemaLedger, page.Schema)
		assert.EqualValues(t, 21, page.First)
		assert.EqualValues(t, 50, page.Last)
		if len(page.Records) == 0 {
			assert.Equal(t, page.Hash, v.Head().Hash)
			break
		}
		for _, record := range page.Records {
			require.NoError(t, v.Add(record))
		}
	}
	assert.EqualValues(t, 30, v.Records())
}

func TestLedgerQuestionsThatMakeNoSenseAreRefused(t *testing.T) {
	e, _ := start(t, host{}, nil)
	for _, query := range []string{"from=0", "from=-1", "from=x", "limit=0", "limit=1001", "limit=x", "since=1", "from=99999999999999999999"} {
		code, v := get(t, e, "/api/v1/ledger?"+query)
		assert.Equal(t, http.StatusBadRequest, code, query)
		assert.Equal(t, schemaError, v["schema"])
	}
	for _, query := range []string{"", "?from=18446744073709551615"} {
		code, v := get(t, e, "/api/v1/ledger"+query)
		assert.Equal(t, http.StatusOK, code)
		assert.Empty(t, v["records"])
	}
}

func TestALedgerThatCannotBeReadIsAnError(t *testing.T) {
	id := component.MustNewID("file_storage")
	store := newFakeStorage()
	e, _ := start(t, host{id: store}, func(c *Config) { c.Storage = &id })
	for n := range 3 {
		_, err := e.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
		require.NoError(t, err)
	}
	store.mu.Lock()
	delete(store.memory.values, recordKey(2))
	store.mu.Unlock()
	code, v := get(t, e, "/api/v1/ledger")
	assert.Equal(t, http.StatusInternalServerError, code)
	assert.Contains(t, v["error"], "ledger lacks a record: 2")

	store.mu.Lock()
	store.fail = assert.AnError
	store.mu.Unlock()
	code, _ = get(t, e, "/api/v1/ledger")
	assert.Equal(t, http.StatusInternalServerError, code)
}

func TestTheLedgerIsReadWhileItIsWritten(t *testing.T) {
	e, _ := start(t, host{}, func(c *Config) { c.Ledger.MaxRecords = 20 })
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := range 300 {
			_, err := e.PublishSignal(t.Context(), envelope(n, signal.StateFiring))
			assert.NoError(t, err)
		}
	})
	for range 50 {
		_, body := request(t, e, http.MethodGet, "/api/v1/ledger")
		var page ledgerAnswer
		require.NoError(t, json.Unmarshal([]byte(body), &page), body)
		var v signal.Verifier
		for _, record := range page.Records {
			require.NoError(t, v.Add(record))
		}
	}
	writing.Wait()
}

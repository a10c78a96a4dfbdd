// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/signal"
)

const schemaLedger = "pitwall.ledger/v1"

// ledgerAnswer is a page of the ledger. First and Last are the numbers of the oldest and the newest record kept, whatever the page holds.
type ledgerAnswer struct {
	Schema string `json:"schema"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	// Hash is that of the last record.
	Hash    string            `json:"hash"`
	Records []json.RawMessage `json:"records"`
}

// serveLedger answers records in the bytes in which they are kept, so that a client can check their hashes.
func (e *optimizationExtension) serveLedger(w http.ResponseWriter, r *http.Request) {
	from, limit, err := parseLedgerQuery(r.URL.Query())
	if err != nil {
		e.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	client, first, chain, ok := e.ledgerExtent()
	if !ok {
		e.fail(w, http.StatusServiceUnavailable, errNotRunning.Error())
		return
	}
	records, err := readRecords(r.Context(), client, max(from, first), chain.Seq, limit)
	if err != nil {
		e.fail(w, http.StatusInternalServerError, "the ledger cannot be read: "+err.Error())
		return
	}
	e.answer(w, http.StatusOK, ledgerAnswer{Schema: schemaLedger, First: first, Last: chain.Seq, Hash: chain.Hash, Records: records})
}

func (e *optimizationExtension) ledgerExtent() (storage.Client, uint64, signal.Chain, bool) {
	e.publishing.Lock()
	defer e.publishing.Unlock()
	if e.ledger == nil {
		return nil, 0, signal.Chain{}, false
	}
	return e.ledger.client, e.ledger.first, e.ledger.chain, true
}

// readRecords reads up to limit records without holding up who publishes. Records that were forgotten meanwhile are not in the answer.
func readRecords(ctx context.Context, client storage.Client, from, last uint64, limit int) ([]json.RawMessage, error) {
	records := []json.RawMessage{}
	if from > last {
		return records, nil
	}
	last = min(last, from+uint64(limit)-1)
	ops := make([]*storage.Operation, 0, last-from+1)
	for seq := from; seq <= last; seq++ {
		ops = append(ops, storage.GetOperation(recordKey(seq)))
	}
	if err := client.Batch(ctx, ops...); err != nil {
		return nil, err
	}
	for i, op := range ops {
		switch {
		case op.Value != nil:
			records = append(records, op.Value)
		case len(records) > 0:
			return nil, fmt.Errorf("%w: %d", errLedgerGap, from+uint64(i))
		}
	}
	return records, nil
}

// parseLedgerQuery reads `from`, the number of the first record wanted, and `limit`.
func parseLedgerQuery(values url.Values) (from uint64, limit int, err error) {
	from, limit = 1, defaultLimit
	for name, given := range values {
		switch name {
		case "from":
			from, err = strconv.ParseUint(given[0], 10, 64)
			if err != nil || from == 0 {
				return 0, 0, fmt.Errorf("%w: from must be the number of a record, 1 or more (got %q)", errQuery, given[0])
			}
		case "limit":
			limit, err = strconv.Atoi(given[0])
			if err != nil || limit < 1 || limit > maxLimit {
				return 0, 0, fmt.Errorf("%w: limit must be between 1 and %d (got %q)", errQuery, maxLimit, given[0])
			}
		default:
			return 0, 0, fmt.Errorf("%w: unknown parameter %q", errQuery, name)
		}
	}
	return from, limit, nil
}

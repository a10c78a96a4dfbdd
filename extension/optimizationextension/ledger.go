// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// ledgerVersion is the version of the form in which the ledger is kept.
const ledgerVersion = 1

var (
	errLedgerVersion = errors.New("ledger was written by another version")
	errLedgerGap     = errors.New("ledger lacks a record")
)

// headKey is where the head of the ledger lies; recordKey is where a record does.
const headKey = "ledger/head"

func recordKey(seq uint64) string { return fmt.Sprintf("ledger/%020d", seq) }

// ledger is the bounded, hash-chained record of signals, in a storage client. It is not safe for concurrent use.
type ledger struct {
	client     storage.Client
	maxRecords uint64
	chain      signal.Chain
	// first is the number of the oldest record kept; the ledger is empty while it is above chain.Seq.
	first uint64
}

// head is the form of the ledger's head in storage.
type head struct {
	Version int    `json:"version"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Hash    string `json:"hash"`
}

func newLedger(client storage.Client, maxRecords int) *ledger {
	return &ledger{client: client, maxRecords: uint64(maxRecords), first: 1}
}

// load reads the ledger from storage, checks its chain, and returns its records.
func (l *ledger) load(ctx context.Context) ([]signal.Envelope, error) {
	data, err := l.client.Get(ctx, headKey)
	if err != nil || data == nil {
		return nil, err
	}
	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("decode head of the ledger: %w", err)
	}
	if h.Version != ledgerVersion {
		return nil, fmt.Errorf("%w: %d, this one reads %d", errLedgerVersion, h.Version, ledgerVersion)
	}
	var records []signal.Envelope
	for seq := h.First; seq <= h.Last; seq++ {
		data, err := l.client.Get(ctx, recordKey(seq))
		if err != nil {
			return nil, err
		}
		if data == nil {
			return nil, fmt.Errorf("%w: %d", errLedgerGap, seq)
		}
		e, err := signal.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", seq, err)
		}
		records = append(records, e)
	}
	chain, err := signal.Verify(records)
	if err != nil {
		return nil, err
	}
	if len(records) > 0 && (chain.Seq != h.Last || chain.Hash != h.Hash) {
		return nil, fmt.Errorf("%w: head does not match the last record", errLedgerGap)
	}
	l.chain = signal.Chain{Seq: h.Last, Hash: h.Hash}
	l.first = h.First
	return records, nil
}

// append records e, forgets the oldest record if there are too many, and returns e with its audit entry. On an error nothing changed.
func (l *ledger) append(ctx context.Context, e signal.Envelope) (signal.Envelope, error) {
	chain := l.chain
	e, err := chain.Append(e)
	if err != nil {
		return signal.Envelope{}, err
	}
	data, err := e.MarshalCanonical()
	if err != nil {
		return signal.Envelope{}, err
	}
	first := l.first
	ops := []*storage.Operation{storage.SetOperation(recordKey(chain.Seq), data)}
	for chain.Seq-first >= l.maxRecords {
		ops = append(ops, storage.DeleteOperation(recordKey(first)))
		first++
	}
	newHead, err := json.Marshal(head{Version: ledgerVersion, First: first, Last: chain.Seq, Hash: chain.Hash})
	if err != nil {
		return signal.Envelope{}, err
	}
	ops = append(ops, storage.SetOperation(headKey, newHead))
	if err := l.client.Batch(ctx, ops...); err != nil {
		return signal.Envelope{}, fmt.Errorf("keep ledger record: %w", err)
	}
	l.chain, l.first = chain, first
	return e, nil
}

// records returns how many records are kept.
func (l *ledger) records() uint64 { return l.chain.Seq + 1 - l.first }

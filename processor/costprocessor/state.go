// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

var (
	errNoStorage  = errors.New("storage extension not found")
	errNotStorage = errors.New("extension is no storage extension")
	errStored     = errors.New("stored costs cannot be used")
)

// Keys in storage. Budgets stand under their own, as they did before there was more to keep.
const (
	stateKey   = "costs/v1"
	budgetsKey = "budgets/v1"
)

const stateVersion = 1

// state is what lives through a restart: all that leaves as a cumulative sum, so that no sum falls, and the daily series.
type state struct {
	Started     time.Time               `json:"started"`
	Accounts    []accountState          `json:"accounts"`
	Unallocated map[string]money.Amount `json:"unallocated,omitempty"`
	Daily       []dailyState            `json:"daily,omitempty"`
}

type accountState struct {
	Service    string                   `json:"service"`
	Owner      string                   `json:"owner,omitempty"`
	CostCenter string                   `json:"cost_center,omitempty"`
	Items      *[signals]uint64         `json:"items,omitempty"`
	Bytes      *[signals]uint64         `json:"bytes,omitempty"`
	Series     *money.Amount            `json:"series,omitempty"`
	Allocated  *[costKinds]money.Amount `json:"allocated,omitempty"`
	// Carbon is in grams.
	Carbon *[carbonKinds]money.Amount `json:"carbon,omitempty"`
}

func (s *accountState) account() account { return account{s.Service, s.Owner, s.CostCenter} }

type dailyState struct {
	Service    string               `json:"service"`
	Owner      string               `json:"owner,omitempty"`
	CostCenter string               `json:"cost_center,omitempty"`
	Source     BudgetSource         `json:"source"`
	Currency   string               `json:"currency"`
	Days       map[int]money.Amount `json:"days"`
}

// envelope guards a state against being cut, changed, or read by an earlier version.
type envelope struct {
	Version  int             `json:"version"`
	Checksum uint32          `json:"checksum"` // CRC-32C of body
	Body     json.RawMessage `json:"body"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openStorage restores what an earlier run stored; e.mu is held.
func (e *engine) openStorage(ctx context.Context, host component.Host) error {
	id := e.cfg.Storage
	if id == nil {
		return nil
	}
	ext, ok := host.GetExtensions()[*id]
	if !ok {
		return fmt.Errorf("storage: %w: %s", errNoStorage, id)
	}
	se, ok := ext.(storage.Extension)
	if !ok {
		return fmt.Errorf("storage: %w: %s", errNotStorage, id)
	}
	client, err := se.GetClient(ctx, component.KindProcessor, e.id, "")
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := e.restore(ctx, client); err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	e.client = client
	return nil
}

func (e *engine) restore(ctx context.Context, client storage.Client) error {
	text, err := client.Get(ctx, budgetsKey)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if text != nil {
		var days map[string]map[int]money.Amount
		if err := json.Unmarshal(text, &days); err != nil {
			return fmt.Errorf("stored budgets: %w", err)
		}
		e.budgets.restore(days)
	}
	if text, err = client.Get(ctx, stateKey); err != nil || text == nil {
		return err
	}
	s, err := decodeState(text)
	if err != nil {
		return err
	}
	e.apply(s)
	return nil
}

func decodeState(text []byte) (*state, error) {
	var wrapped envelope
	if err := json.Unmarshal(text, &wrapped); err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	if wrapped.Version > stateVersion {
		return nil, fmt.Errorf("%w: they were written by a later release (version %d, this one reads %d)", errStored, wrapped.Version, stateVersion)
	}
	if crc32.Checksum(wrapped.Body, castagnoli) != wrapped.Checksum {
		return nil, fmt.Errorf("%w: the checksum does not match", errStored)
	}
	s := &state{}
	if err := json.Unmarshal(wrapped.Body, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errStored, err)
	}
	return s, nil
}

// apply puts a stored state into the meters, which are empty; e.mu is held.
func (e *engine) apply(s *state) {
	if !s.Started.IsZero() && s.Started.Before(e.started) {
		e.started = s.Started
	}
	for i := range s.Accounts {
		a := &s.Accounts[i]
		if a.Items != nil && a.Bytes != nil {
			e.meter.restore(a.account(), a.Items, a.Bytes)
		}
		if a.Series != nil && e.series != nil {
			e.series.restore(a.account(), *a.Series)
		}
		if a.Allocated != nil && e.resources != nil {
			e.resources.restore(a.account(), *a.Allocated)
		}
		if a.Carbon != nil && e.resources != nil && e.resources.carbon != nil {
			e.resources.carbon.totals[a.account()] = a.Carbon
		}
	}
	e.tagger.unowned.restore(s.Unallocated)
	e.daily.restore(s.Daily)
}

// state is what is to be stored now.
func (e *engine) state() *state {
	e.mu.Lock()
	s := &state{Started: e.started, Unallocated: map[string]money.Amount{}}
	e.mu.Unlock()
	byAccount := map[account]*accountState{}
	of := func(a account) *accountState {
		if byAccount[a] == nil {
			byAccount[a] = &accountState{Service: a.service, Owner: a.owner, CostCenter: a.costCenter}
		}
		return byAccount[a]
	}
	for _, st := range e.meter.statements() {
		a := of(st.account)
		a.Items, a.Bytes = &[signals]uint64{}, &[signals]uint64{}
		for sig, u := range st.usage {
			a.Items[sig], a.Bytes[sig] = u.items, u.bytes
		}
	}
	if e.series != nil {
		for a, spent := range e.series.totals() {
			of(a).Series = &spent
		}
	}
	if e.resources != nil {
		allocated := e.resources.allocated()
		for a, totals := range allocated.totals {
			of(a).Allocated = &totals
		}
		for a, totals := range allocated.carbon.totals {
			of(a).Carbon = &totals
		}
	}
	for _, a := range byAccount {
		s.Accounts = append(s.Accounts, *a)
	}
	slices.SortFunc(s.Accounts, func(x, y accountState) int { return compareAccounts(x.account(), y.account()) })
	for source := range moneySources {
		if total, _ := e.tagger.unowned.report(source); !total.IsZero() {
			s.Unallocated[source.String()] = total
		}
	}
	s.Daily = e.daily.days()
	return s
}

// save stores the state, if there is a storage extension.
func (e *engine) save(ctx context.Context) error {
	if e.client == nil {
		return nil
	}
	body, err := json.Marshal(e.state())
	if err != nil {
		return err
	}
	text, err := json.Marshal(envelope{Version: stateVersion, Checksum: crc32.Checksum(body, castagnoli), Body: body})
	if err != nil {
		return err
	}
	days, err := json.Marshal(e.budgets.days())
	if err != nil {
		return err
	}
	return e.client.Batch(ctx, storage.SetOperation(stateKey, text), storage.SetOperation(budgetsKey, days))
}

func (e *engine) closeStorage(ctx context.Context) error {
	if e.client == nil {
		return nil
	}
	err := e.save(ctx)
	client := e.client
	e.client = nil
	return errors.Join(err, client.Close(ctx))
}

// restore puts back the totals of an account.
func (m *meter) restore(a account, items, bytes *[signals]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := &[signals]traffic{}
	for sig := range sums {
		sums[sig] = traffic{items[sig], bytes[sig]}
	}
	m.accounts[a] = sums
}

func (m *seriesMeter) restore(a account, spent money.Amount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts[a] = &seriesAccount{spent: spent}
}

// totals are what the series of every account have cost.
func (m *seriesMeter) totals() map[account]money.Amount {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[account]money.Amount{}
	for a, s := range m.accounts {
		if !s.spent.IsZero() {
			out[a] = s.spent
		}
	}
	return out
}

func (m *resourceMeter) restore(a account, totals [costKinds]money.Amount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totals[a] = &totals
}

// days are the daily series as they are stored.
func (d *daily) days() []dailyState {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]dailyState, 0, len(d.series))
	for key, s := range d.series {
		out = append(out, dailyState{
			Service: key.account.service, Owner: key.account.owner, CostCenter: key.account.costCenter,
			Source: key.source, Currency: key.currency, Days: s.Days(),
		})
	}
	slices.SortFunc(out, func(a, b dailyState) int {
		return cmp.Or(compareAccounts(a.account(), b.account()), strings.Compare(string(a.Source), string(b.Source)), strings.Compare(a.Currency, b.Currency))
	})
	return out
}

func (s *dailyState) account() account { return account{s.Service, s.Owner, s.CostCenter} }

func (d *daily) restore(stored []dailyState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range stored {
		s := &stored[i]
		d.of(dailyKey{s.account(), s.Source, s.Currency}).Restore(s.Days)
	}
}

// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/budget"
	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// daily keeps what every account costs a day, from the bill and from what is allocated here. Corrections of a bill arrive as differences
// and charges spread over their period, so the series need no cleaning. New accounts beyond the bound are added to the overflow account.
type daily struct {
	max int

	mu     sync.Mutex // guards series
	series map[dailyKey]*budget.Series
}

type dailyKey struct {
	account  account
	source   BudgetSource
	currency string
}

// dayCost is one amount on its way to its day.
type dayCost struct {
	key    dailyKey
	at     time.Time
	amount money.Amount
}

func newDaily(maxAccounts int) *daily {
	return &daily{max: maxAccounts, series: map[dailyKey]*budget.Series{}}
}

func (d *daily) commit(list []dayCost) {
	if len(list) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		d.of(list[i].key).Add(list[i].at, list[i].amount)
	}
}

// of is the series of a key; d.mu is held.
func (d *daily) of(key dailyKey) *budget.Series {
	s, ok := d.series[key]
	if !ok {
		if len(d.series) >= d.max {
			key.account = account{service: overflow, owner: overflow}
			s = d.series[key]
		}
		if s == nil {
			s = &budget.Series{}
			d.series[key] = s
		}
	}
	return s
}

// allocated adds what was allocated in the last window.
func (d *daily) allocated(window map[account]money.Amount, currency string, now time.Time) {
	list := make([]dayCost, 0, len(window))
	for a, amount := range window {
		list = append(list, dayCost{dailyKey{a, FromAllocated, currency}, now, amount})
	}
	d.commit(list)
}

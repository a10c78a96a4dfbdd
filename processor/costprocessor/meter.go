// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"slices"
	"sync"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// longestName is the length of the longest name under which something is accounted for. Accounts are bounded in number; senders choose
// their names, and must not choose how much memory they take.
const longestName = 1024

// nameable is a name, or overflow for one that is too long.
func nameable(name string) string {
	if len(name) > longestName {
		return overflow
	}
	return name
}

// overflow is the account of everything beyond max_accounts.
const overflow = "__overflow__"

// account is whom something is accounted to.
type account struct {
	service, owner, costCenter string
}

// signal is a kind of telemetry.
type signal int

const (
	traces signal = iota
	metrics
	logs
	signals
)

var signalNames = [signals]string{"traces", "metrics", "logs"}

func (s signal) String() string { return signalNames[s] }

// traffic is what one account sent of one signal.
type traffic struct {
	items, bytes uint64
}

// shipment is what one request holds, by account. It counts only once the next component accepted the request.
type shipment struct {
	entries []shipmentEntry
}

type shipmentEntry struct {
	account account
	usage   traffic
}

func (s *shipment) add(a account, u traffic) {
	// Requests hold runs of one service.
	if n := len(s.entries); n > 0 && s.entries[n-1].account == a {
		s.entries[n-1].usage.items += u.items
		s.entries[n-1].usage.bytes += u.bytes
		return
	}
	s.entries = append(s.entries, shipmentEntry{a, u})
}

var shipments = sync.Pool{New: func() any { return &shipment{} }}

// meter sums the telemetry of every account since the start. New accounts beyond the bound go to the overflow account; known ones keep
// their own.
type meter struct {
	max int

	mu       sync.Mutex // guards accounts
	accounts map[account]*[signals]traffic
}

func newMeter(maxAccounts int) *meter {
	return &meter{max: maxAccounts, accounts: map[account]*[signals]traffic{}}
}

// commit adds a shipment and returns how many of its items went to the overflow account.
func (m *meter) commit(sig signal, s *shipment) (overflowed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range s.entries {
		e := &s.entries[i]
		sums, ok := m.accounts[e.account]
		if !ok {
			key := e.account
			if len(m.accounts) >= m.max {
				key = account{service: overflow, owner: overflow}
				overflowed += e.usage.items
			}
			if sums, ok = m.accounts[key]; !ok {
				sums = &[signals]traffic{}
				m.accounts[key] = sums
			}
		}
		sums[sig].items += e.usage.items
		sums[sig].bytes += e.usage.bytes
	}
	return overflowed
}

func (m *meter) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.accounts)
}

// statement is the total of one account.
type statement struct {
	account account
	usage   [signals]traffic
}

// statements are the totals of all accounts, sorted.
func (m *meter) statements() []statement {
	m.mu.Lock()
	out := make([]statement, 0, len(m.accounts))
	for a, u := range m.accounts {
		out = append(out, statement{a, *u})
	}
	m.mu.Unlock()
	slices.SortFunc(out, func(a, b statement) int { return compareAccounts(a.account, b.account) })
	return out
}

// known is the account that a's telemetry is summed under: its own, or the overflow account.
func (m *meter) known(a account) account {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.accounts[a]; ok {
		return a
	}
	return account{service: overflow, owner: overflow}
}

// telemetryPrices are exact prices of a byte and of an item, by signal; set is false where the signal has none.
type telemetryPrices [signals]struct {
	perByte, perItem money.Amount
	set              bool
}

func newTelemetryPrices(c TelemetryConfig) (telemetryPrices, error) {
	var out telemetryPrices
	for sig, name := range signalNames {
		price, ok := c.Prices[name]
		if !ok {
			continue
		}
		perGB, err := money.FromFloat(price.PerGB)
		if err != nil {
			return out, err
		}
		perMillion, err := money.FromFloat(price.PerMillion)
		if err != nil {
			return out, err
		}
		out[sig].perByte = perGB.Times(money.MustParse("1e-9"))
		out[sig].perItem = perMillion.Times(money.MustParse("1e-6"))
		out[sig].set = true
	}
	return out, nil
}

func (p *telemetryPrices) amount(sig signal, u traffic) (money.Amount, bool) {
	if !p[sig].set {
		return money.Amount{}, false
	}
	bytes, items := fromUint(u.bytes), fromUint(u.items)
	return p[sig].perByte.Times(bytes).Plus(p[sig].perItem.Times(items)), true
}

func fromUint(n uint64) money.Amount {
	const half = 1 << 32
	return money.FromInt(int64(n >> 32)).Times(money.FromInt(half)).Plus(money.FromInt(int64(n & (half - 1))))
}

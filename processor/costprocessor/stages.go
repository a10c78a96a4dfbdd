// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

var errBaseline = errors.New("is not in any pipeline, or does not account for telemetry")

// telemetryLine is what the telemetry of one account comes to at this stage, and compared with the baseline.
type telemetryLine struct {
	account account
	usage   [signals]traffic
	series  int64
	// amount is the price of the traffic and, for metrics, of the time that series were active.
	amount, saved [signals]money.Amount
	priced        [signals]bool
	compared      bool
	baseline      string // the stage compared with
}

// baseline is the engine that this one compares itself with; nil without one.
func (e *engine) baseline() (*engine, error) {
	id := e.cfg.Telemetry.Baseline
	if id == nil || !e.cfg.Telemetry.Enabled {
		return nil, nil
	}
	base := e.find(*id)
	if base == nil || base == e || !base.cfg.Telemetry.Enabled {
		return nil, fmt.Errorf("telemetry.baseline: %q %w", id.String(), errBaseline)
	}
	return base, nil
}

// telemetryLines are the lines of all accounts, of those that the baseline knows and this stage does not too: all they sent was saved.
func (e *engine) telemetryLines(now time.Time) ([]telemetryLine, error) {
	var err error
	if e.series != nil {
		err = e.series.tick(now)
	}
	var lines []telemetryLine
	for _, s := range e.meter.statements() {
		lines = append(lines, e.line(s))
	}
	base, missing := e.baseline()
	if base == nil {
		return lines, errors.Join(err, missing)
	}
	before := map[account]statement{}
	for _, s := range base.meter.statements() {
		before[s.account] = s
	}
	for i := range lines {
		e.compare(&lines[i], before[lines[i].account], base)
		delete(before, lines[i].account)
	}
	for a, s := range before {
		l := e.line(statement{account: a})
		e.compare(&l, s, base)
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b telemetryLine) int { return compareAccounts(a.account, b.account) })
	return lines, err
}

// line prices what an account sent.
func (e *engine) line(s statement) telemetryLine {
	l := telemetryLine{account: s.account, usage: s.usage}
	for sig := range signals {
		l.amount[sig], l.priced[sig] = e.prices.amount(sig, s.usage[sig])
	}
	if e.series != nil {
		var spent money.Amount
		l.series, spent = e.series.of(s.account)
		l.amount[metrics] = l.amount[metrics].Plus(spent)
	}
	return l
}

// compare works out what was saved since the baseline, at the prices of this stage. Series count where both stages price them.
func (e *engine) compare(l *telemetryLine, before statement, base *engine) {
	l.compared, l.baseline = true, base.cfg.Telemetry.Stage
	for sig := range signals {
		was, _ := e.prices.amount(sig, before.usage[sig])
		is, _ := e.prices.amount(sig, l.usage[sig])
		l.saved[sig] = was.Minus(is)
	}
	if e.series != nil && base.series != nil {
		_, was := base.series.of(l.account)
		_, is := e.series.of(l.account)
		l.saved[metrics] = l.saved[metrics].Plus(was.Minus(is))
	}
}

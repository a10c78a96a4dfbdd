// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/cost/allocation"
	"github.com/pitwall-io/pitwall/internal/cost/focusout"
)

// focusWriter writes what is allocated as FOCUS files, one a month, each replaced as a whole.
type focusWriter struct {
	cfg     *FocusConfig
	export  focusout.Export
	prefix  string
	written time.Time
}

func newFocusWriter(cfg *Config, id string) *focusWriter {
	if cfg.FocusOut.Directory == "" {
		return nil
	}
	return &focusWriter{
		cfg: &cfg.FocusOut, prefix: "pitwall-" + strings.ReplaceAll(id, "/", "-") + "-",
		export: focusout.Export{
			Account: cfg.FocusOut.BillingAccount, Currency: cfg.Resources.Currency, Issuer: "pitwall", Service: "Infrastructure",
			Method: "opencost-max-of-request-and-usage", Details: map[string]string{"x_Idle": string(cfg.Resources.Idle), "x_Shared": string(cfg.Resources.Split)},
		},
	}
}

// exportFocus writes the files of this month and the last, at most once an interval unless it is the last time.
func (e *engine) exportFocus(ctx context.Context, now time.Time, last bool) {
	w := e.focusOut
	if w == nil || !last && now.Sub(w.written) < w.cfg.Interval {
		return
	}
	w.written = now
	month := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	rows := e.daily.allocatedRows(e.cfg.Resources.Currency)
	for _, from := range []time.Time{month.AddDate(0, -1, 0), month} {
		to := from.AddDate(0, 1, 0)
		var those []focusout.Allocated
		for i := range rows {
			if !rows[i].Day.Before(from) && rows[i].Day.Before(to) {
				those = append(those, rows[i])
			}
		}
		if len(those) == 0 {
			continue
		}
		outcome := "success"
		if err := w.write(filepath.Join(w.cfg.Directory, w.prefix+from.Format("2006-01")+".csv"), those); err != nil {
			outcome = "failure"
			e.set.Logger.Error("FOCUS file cannot be written; it is tried again", zap.Error(err))
		}
		e.tel.CostFocusFiles.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
}

// write puts a file in place of the one before at once, so that nobody reads half of one.
func (w *focusWriter) write(path string, rows []focusout.Allocated) error {
	// One name: what a crash leaves behind is overwritten by the next attempt.
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(file)
	err = errors.Join(focusout.WriteCSV(buffered, &w.export, rows), buffered.Flush(), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// allocatedRows are the days of all allocated series in one currency, in a stable order.
func (d *daily) allocatedRows(currency string) []focusout.Allocated {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []focusout.Allocated
	keys := slices.SortedFunc(maps.Keys(d.series), func(a, b dailyKey) int {
		return cmp.Or(compareAccounts(a.account, b.account), strings.Compare(string(a.source), string(b.source)), strings.Compare(a.currency, b.currency))
	})
	for _, key := range keys {
		if key.source != FromAllocated || key.currency != currency {
			continue
		}
		tags := map[string]string{}
		for name, value := range map[string]string{attrOwner: key.account.owner, attrCostCenter: key.account.costCenter} {
			if value != "" {
				tags[name] = value
			}
		}
		days := d.series[key].Days()
		for _, day := range slices.Sorted(maps.Keys(days)) {
			row := focusout.Allocated{
				Day: time.Unix(int64(day)*86400, 0).UTC(), Resource: key.account.service, Tags: tags, Cost: days[day],
				Description: "Allocated to " + key.account.service,
			}
			switch row.Resource {
			case allocation.Idle:
				row.Resource, row.Description = "", "Idle: nobody reserved or used it"
			case allocation.Unmounted:
				row.Resource, row.Description = "", "Volumes that nobody mounts"
			}
			out = append(out, row)
		}
	}
	return out
}

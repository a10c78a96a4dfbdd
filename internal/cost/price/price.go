// SPDX-License-Identifier: Apache-2.0

// Package price holds price sheets: what a core, a gibibyte or a machine costs an hour, where, in which form, since when.
package price

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Rates are prices per hour.
type Rates struct {
	// CPU is per core, RAM per GiB, GPU per device, Storage per GB of 2^30 bytes, as OpenCost counts.
	CPU, RAM, GPU, Storage money.Amount
	// Network is per GiB sent, not per hour. It has no fallback: what traffic costs depends on where it goes.
	Network money.Amount
	// Source says where the rates come from: "sheet:<line>", or "opencost" for the fallback.
	Source string
}

// Query asks for the price of something.
type Query struct {
	At time.Time
	// Region, InstanceType and Commitment may be empty: unknown.
	Region, InstanceType, Commitment string
	// Cores and GiB are the size of the machine; they are needed only where the sheet prices machines as a whole.
	Cores, GiB money.Amount
}

// spot is the commitment of machines that may be taken away.
const spot = "spot"

// Fallback are OpenCost's default prices in USD (opencost, configs/default.json: "Default prices based on GCP us-central1").
func Fallback(commitment string) Rates {
	r := Rates{
		CPU: money.MustParse("0.031611"), RAM: money.MustParse("0.004237"), GPU: money.MustParse("0.95"),
		Storage: money.MustParse("0.00005479452"), Source: "opencost",
	}
	if commitment == spot {
		r.CPU, r.RAM = money.MustParse("0.006655"), money.MustParse("0.000892")
	}
	return r
}

// row is one line of a sheet. Absent prices fall back.
type row struct {
	scope
	cpu, ram, gpu, storage, instance *money.Amount
	network                          *money.Amount
}

// Sheet is an immutable price sheet. The zero value has no rows: everything falls back.
type Sheet struct {
	rows []row
}

// columns of a sheet.
var columns = append(slices.Clone(scopeColumns), "cpu_core_hour", "ram_gib_hour", "gpu_hour", "storage_gb_hour", "instance_hour", "network_gib")

var errNoPrice = errors.New("a row needs a price")

// ReadCSV reads a sheet with a header line. Columns: from, to (dates, to is exclusive), region, instance_type, commitment (on_demand, spot,
// or any word), cpu_core_hour, ram_gib_hour, gpu_hour, storage_gb_hour, instance_hour, network_gib. Empty cells match everything, or fall back.
func ReadCSV(r io.Reader) (*Sheet, error) {
	s := &Sheet{}
	return whole(s, s.reader().csv(r))
}

// ReadYAML reads a sheet as a list of objects with the columns of ReadCSV.
func ReadYAML(r io.Reader) (*Sheet, error) {
	s := &Sheet{}
	return whole(s, s.reader().yaml(r))
}

func (s *Sheet) reader() *reader { return &reader{kind: "price sheet", columns: columns, add: s.add} }

func (s *Sheet) add(line int, cell func(string) string) error {
	what, err := scopeOf(line, cell)
	if err != nil {
		return err
	}
	r := row{scope: what}
	some, err := parseAmounts(cell, map[string]**money.Amount{
		"cpu_core_hour": &r.cpu, "ram_gib_hour": &r.ram, "gpu_hour": &r.gpu, "storage_gb_hour": &r.storage, "instance_hour": &r.instance,
		"network_gib": &r.network,
	})
	if err != nil {
		return err
	}
	if !some {
		return errNoPrice
	}
	s.rows = append(s.rows, r)
	return nil
}

// Len is the number of rows.
func (s *Sheet) Len() int { return len(s.rows) }

// Rates is the price of something. Of the rows that match the one that names most counts: first instance type, then region, then
// commitment; of equals the one that begins latest, then the later line. Prices the row does not have fall back to OpenCost's.
func (s *Sheet) Rates(q Query) Rates {
	out := Fallback(q.Commitment)
	var r *row
	for i := range s.rows {
		if c := &s.rows[i]; c.matches(&q) && (r == nil || c.beats(&r.scope)) {
			r = c
		}
	}
	if r == nil {
		return out
	}
	out.Source = fmt.Sprintf("sheet:%d", r.line)
	for _, p := range []struct {
		from *money.Amount
		to   *money.Amount
	}{{r.cpu, &out.CPU}, {r.ram, &out.RAM}, {r.gpu, &out.GPU}, {r.storage, &out.Storage}, {r.network, &out.Network}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if r.instance != nil {
		out.scale(*r.instance, q.Cores, q.GiB)
	}
	return out
}

// scale makes the prices of cores and memory add up to the price of the machine, in the ratio they have.
func (r *Rates) scale(instance, cores, gib money.Amount) {
	whole := r.CPU.Times(cores).Plus(r.RAM.Times(gib))
	if whole.IsZero() {
		return
	}
	factor := instance.Over(whole)
	r.CPU, r.RAM = r.CPU.Times(factor).Round(18), r.RAM.Times(factor).Round(18)
}

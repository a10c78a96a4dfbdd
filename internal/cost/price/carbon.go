// SPDX-License-Identifier: Apache-2.0

package price

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Emissions are grams of CO2 equivalent, as the Software Carbon Intensity specification takes them apart (Green Software Foundation, SCI
// 1.1, ISO/IEC 21031): those of operation, energy times the intensity of the grid, and those embodied in the machine.
type Emissions struct {
	// CPU is per core and hour that is there or set aside, Busy what an hour of a core adds when it works; RAM is per GiB and hour, GPU per
	// device and hour, Storage per GB of 2^30 bytes and hour, Network per GiB sent.
	CPU, Busy, RAM, GPU, Storage, Network money.Amount
	// Embodied is per core and hour.
	Embodied money.Amount
}

// factors are the columns of a carbon sheet beside its scope. Network is energy, in kWh; embodied is grams for a machine and hour.
type factors struct {
	grid, pue, idle, busy, ram, gpu, storage, network, embodied *money.Amount
}

// fields are the factors by their columns.
func (f *factors) fields() map[string]**money.Amount {
	return map[string]**money.Amount{
		"grid_g_kwh": &f.grid, "pue": &f.pue, "cpu_idle_watts": &f.idle, "cpu_busy_watts": &f.busy, "ram_gib_watts": &f.ram,
		"gpu_watts": &f.gpu, "storage_gb_watts": &f.storage, "network_kwh_gib": &f.network, "embodied_g_hour": &f.embodied,
	}
}

var carbonColumns = append(slices.Clone(scopeColumns), "grid_g_kwh", "pue", "cpu_idle_watts", "cpu_busy_watts", "ram_gib_watts", "gpu_watts",
	"storage_gb_watts", "network_kwh_gib", "embodied_g_hour")

type carbonRow struct {
	scope
	factors
}

// CarbonSheet is an immutable list of factors.
type CarbonSheet struct {
	rows []carbonRow
}

var (
	errNoFactor = errors.New("a row needs a factor")
	one         = money.FromInt(1)
	perKilo     = money.MustParse("0.001")
)

// ReadCarbonCSV reads a sheet with a header line. Columns: those of a price sheet that say what a row is about; grid_g_kwh (grams per kWh
// of the grid), pue (power usage effectiveness), cpu_idle_watts and cpu_busy_watts (of a core), ram_gib_watts, gpu_watts,
// storage_gb_watts, network_kwh_gib, embodied_g_hour (of a whole machine).
func ReadCarbonCSV(r io.Reader) (*CarbonSheet, error) {
	s := &CarbonSheet{}
	return whole(s, s.reader().csv(r))
}

// ReadCarbonYAML reads a sheet as a list of objects with the columns of ReadCarbonCSV.
func ReadCarbonYAML(r io.Reader) (*CarbonSheet, error) {
	s := &CarbonSheet{}
	return whole(s, s.reader().yaml(r))
}

func (s *CarbonSheet) reader() *reader {
	return &reader{kind: "carbon sheet", columns: carbonColumns, add: s.add}
}

func (s *CarbonSheet) add(line int, cell func(string) string) error {
	what, err := scopeOf(line, cell)
	if err != nil {
		return err
	}
	row := carbonRow{scope: what}
	some, err := parseAmounts(cell, row.fields())
	switch {
	case err != nil:
		return err
	case !some:
		return errNoFactor
	case row.pue != nil && row.pue.Cmp(one) < 0:
		return fmt.Errorf("pue must be at least 1 (got %s)", row.pue)
	case row.idle != nil && row.busy != nil && row.busy.Cmp(*row.idle) < 0:
		return fmt.Errorf("cpu_busy_watts must be at least cpu_idle_watts (got %s and %s)", row.busy, row.idle)
	}
	s.rows = append(s.rows, row)
	return nil
}

// Emissions are those of something. Each factor comes from the row that names most among those that have it, as for prices: a row for a
// region may say how dirty its grid is, and one for an instance type what it draws. A factor that no row has is 0, and pue 1.
func (s *CarbonSheet) Emissions(q Query) Emissions {
	var found factors
	from := map[string]*scope{}
	for i := range s.rows {
		r := &s.rows[i]
		if !r.matches(&q) {
			continue
		}
		to := found.fields()
		for name, value := range r.fields() {
			if *value != nil && (from[name] == nil || r.beats(from[name])) {
				*to[name], from[name] = *value, &r.scope
			}
		}
	}
	or := func(a *money.Amount, otherwise money.Amount) money.Amount {
		if a == nil {
			return otherwise
		}
		return *a
	}
	zero := money.Amount{}
	kwh := or(found.grid, zero).Times(or(found.pue, one)) // grams for a kWh of the machine
	watt := kwh.Times(perKilo)                            // grams for an hour of a watt
	out := Emissions{
		CPU: or(found.idle, zero).Times(watt), RAM: or(found.ram, zero).Times(watt), GPU: or(found.gpu, zero).Times(watt),
		Storage: or(found.storage, zero).Times(watt), Network: or(found.network, zero).Times(kwh),
	}
	if busy := or(found.busy, zero).Minus(or(found.idle, zero)); busy.Sign() > 0 {
		out.Busy = busy.Times(watt)
	}
	if found.embodied != nil && q.Cores.Sign() > 0 {
		out.Embodied = found.embodied.Over(q.Cores).Round(18)
	}
	return out
}

// Len is the number of rows.
func (s *CarbonSheet) Len() int { return len(s.rows) }

// SPDX-License-Identifier: Apache-2.0

// Package focusout writes allocated costs in the FinOps Open Cost and Usage Specification. It is apart from the reader, whose Parquet
// library would weigh on everybody who only writes.
package focusout

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

// Allocated is the part of a day's charge that was allocated to somebody, or that nobody took.
type Allocated struct {
	// Day is the day (UTC) it is for.
	Day time.Time
	// Resource is what it was allocated to: a service. Empty, it is the part that was allocated to nobody.
	Resource string
	// Description says in words what the row is.
	Description string
	// Tags are what is known about the resource: owner, cost centre.
	Tags map[string]string
	Cost money.Amount
}

// Export says what the rows of a file have in common.
type Export struct {
	// Account is the billing account; a later file of the same account and month replaces an earlier one.
	Account  string
	Currency string
	// Issuer stands where a bill names its provider, publisher and issuer: who allocated.
	Issuer string
	// Service is what was split: the ServiceName of every row.
	Service string
	// Method names how it was split, as AllocatedMethodId does.
	Method string
	// Details describe the method: keys of AllocatedMethodDetails beside its elements, which FOCUS wants to begin with "x_".
	Details map[string]string
}

// exportColumns are the mandatory columns of FOCUS 1.3 and those it has for split cost allocation.
var exportColumns = []string{
	"AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
	"BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
	"ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
	"ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit",
	"ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceProviderName", "Tags",
}

// WriteCSV writes allocated costs as a FOCUS 1.3 Cost and Usage file. What a day costs is one origin charge, which its rows split: their
// ratios add up to 1 exactly. All four costs of a row are the allocated cost: what a list price or an invoice would say about a share of a
// machine is not known here. Rows that cost nothing are left out; costs below 0 are an error.
func WriteCSV(w io.Writer, e *Export, rows []Allocated) error {
	ratios, err := ratiosOf(rows)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write(exportColumns); err != nil {
		return err
	}
	for i := range rows {
		if rows[i].Cost.IsZero() {
			continue
		}
		values, err := e.values(&rows[i], ratios[i])
		if err != nil {
			return fmt.Errorf("%s: %w", rows[i].Resource, err)
		}
		record := make([]string, len(exportColumns))
		for j, column := range exportColumns {
			record[j] = values[column]
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ratiosOf are the shares of the rows in what their day costs.
func ratiosOf(rows []Allocated) ([]money.Amount, error) {
	days := map[time.Time][]int{}
	for i := range rows {
		if day := dayOf(rows[i].Day); !rows[i].Cost.IsZero() {
			days[day] = append(days[day], i)
		}
	}
	ratios := make([]money.Amount, len(rows))
	for day, those := range days {
		costs := make([]money.Amount, len(those))
		for k, i := range those {
			costs[k] = rows[i].Cost
		}
		parts, err := money.Split(money.FromInt(1), costs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", day.Format(time.DateOnly), err)
		}
		for k, i := range those {
			ratios[i] = parts[k]
		}
	}
	return ratios, nil
}

// dayOf is when a day began.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// values are the cells of a row by column; a column that is absent is null.
func (e *Export) values(r *Allocated, ratio money.Amount) (map[string]string, error) {
	details := map[string]any{"Elements": []any{map[string]any{"AllocatedRatio": json.Number(ratio.String())}}}
	for key, value := range e.Details {
		details[key] = value
	}
	method, err := json.Marshal(details)
	if err != nil {
		return nil, err
	}
	tags := []byte{}
	if len(r.Tags) > 0 {
		if tags, err = json.Marshal(r.Tags); err != nil {
			return nil, err
		}
	}
	at := func(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }
	day := dayOf(r.Day)
	month := day.AddDate(0, 0, 1-day.Day())
	cost := r.Cost.String()
	return map[string]string{
		"AllocatedMethodDetails": string(method), "AllocatedMethodId": e.Method,
		"AllocatedResourceId": r.Resource, "AllocatedResourceName": r.Resource, "AllocatedTags": string(tags),
		"BilledCost": cost, "EffectiveCost": cost, "ContractedCost": cost, "ListCost": cost,
		"BillingAccountId": e.Account, "BillingAccountName": e.Account, "BillingCurrency": e.Currency,
		"BillingPeriodStart": at(month), "BillingPeriodEnd": at(month.AddDate(0, 1, 0)),
		"ChargePeriodStart": at(day), "ChargePeriodEnd": at(day.AddDate(0, 0, 1)),
		"ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "ChargeDescription": r.Description,
		"InvoiceIssuerName": e.Issuer, "ProviderName": e.Issuer, "PublisherName": e.Issuer, "ServiceProviderName": e.Issuer,
		"ServiceCategory": "Other", "ServiceName": e.Service,
	}, nil
}

// SPDX-License-Identifier: Apache-2.0

package focus

import "slices"

// Version is a version of the FOCUS specification.
type Version int

// The versions of FOCUS that are read.
const (
	V1_0 Version = iota
	V1_1
	V1_2
	V1_3
	V1_4
)

func (v Version) String() string { return [...]string{"1.0", "1.1", "1.2", "1.3", "1.4"}[v] }

// Type is the data type of a column.
type Type int

// The data types of FOCUS.
const (
	Text Type = iota
	Decimal
	DateTime
	JSON
)

// Column is what FOCUS says about one column of Cost and Usage.
type Column struct {
	Name string
	Type Type
	// Since is the version that introduced the column (1.0 for older ones), Until the last one that has it; 0 means it is still there.
	Since, Until Version
	// Mandatory columns must be present in every file; columns that depend on what a provider supports are not mandatory.
	Mandatory bool
	// Nullable columns may be without a value.
	Nullable bool
	// NonNegative decimals must not be below 0.
	NonNegative bool
	// Currency columns hold an ISO 4217 code.
	Currency bool
	// Allowed are the only values, where FOCUS lists them.
	Allowed []string
}

// Columns are the columns of Cost and Usage from FOCUS 1.0 to 1.4 (focus.finops.org, normative column definitions).
var Columns = []Column{
	{Name: "AllocatedMethodDetails", Type: JSON, Since: V1_3, Nullable: true},
	{Name: "AllocatedMethodId", Type: Text, Since: V1_3, Nullable: true},
	{Name: "AllocatedResourceId", Type: Text, Since: V1_3, Nullable: true},
	{Name: "AllocatedResourceName", Type: Text, Since: V1_3, Nullable: true},
	{Name: "AllocatedTags", Type: JSON, Since: V1_3, Nullable: true},
	{Name: "AvailabilityZone", Type: Text, Since: V1_0, Nullable: true},
	{Name: "BilledCost", Type: Decimal, Since: V1_0, Mandatory: true},
	{Name: "BillingAccountId", Type: Text, Since: V1_0, Mandatory: true},
	{Name: "BillingAccountName", Type: Text, Since: V1_0, Mandatory: true, Nullable: true},
	{Name: "BillingAccountType", Type: Text, Since: V1_2},
	{Name: "BillingCurrency", Type: Text, Since: V1_0, Mandatory: true, Currency: true},
	{Name: "BillingPeriodEnd", Type: DateTime, Since: V1_0, Mandatory: true},
	{Name: "BillingPeriodStart", Type: DateTime, Since: V1_0, Mandatory: true},
	{Name: "CapacityReservationId", Type: Text, Since: V1_1, Nullable: true},
	{Name: "CapacityReservationStatus", Type: Text, Since: V1_1, Nullable: true, Allowed: []string{"Used", "Unused"}},
	{Name: "ChargeCategory", Type: Text, Since: V1_0, Mandatory: true, Allowed: []string{"Usage", "Purchase", "Tax", "Credit", "Adjustment"}},
	{Name: "ChargeClass", Type: Text, Since: V1_0, Mandatory: true, Nullable: true, Allowed: []string{"Correction"}},
	{Name: "ChargeDescription", Type: Text, Since: V1_0, Mandatory: true, Nullable: true},
	{Name: "ChargeFrequency", Type: Text, Since: V1_0, Allowed: []string{"One-Time", "Recurring", "Usage-Based"}},
	{Name: "ChargePeriodEnd", Type: DateTime, Since: V1_0, Mandatory: true},
	{Name: "ChargePeriodStart", Type: DateTime, Since: V1_0, Mandatory: true},
	{Name: "CommitmentDiscountCategory", Type: Text, Since: V1_0, Nullable: true, Allowed: []string{"Spend", "Usage"}},
	{Name: "CommitmentDiscountId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "CommitmentDiscountName", Type: Text, Since: V1_0, Nullable: true},
	{Name: "CommitmentDiscountQuantity", Type: Decimal, Since: V1_1, Nullable: true},
	{Name: "CommitmentDiscountStatus", Type: Text, Since: V1_0, Nullable: true, Allowed: []string{"Used", "Unused"}},
	{Name: "CommitmentDiscountType", Type: Text, Since: V1_0, Nullable: true},
	{Name: "CommitmentDiscountUnit", Type: Text, Since: V1_1, Nullable: true},
	{Name: "CommitmentProgramEligibilityDetails", Type: JSON, Since: V1_4, Nullable: true},
	{Name: "ConsumedQuantity", Type: Decimal, Since: V1_0, Nullable: true},
	{Name: "ConsumedUnit", Type: Text, Since: V1_0, Nullable: true},
	{Name: "ContractApplied", Type: JSON, Since: V1_3, Nullable: true},
	{Name: "ContractedCost", Type: Decimal, Since: V1_0, Mandatory: true},
	{Name: "ContractedUnitPrice", Type: Decimal, Since: V1_0, Nullable: true, NonNegative: true},
	{Name: "EffectiveCost", Type: Decimal, Since: V1_0, Mandatory: true},
	{Name: "HostProviderName", Type: Text, Since: V1_3, Mandatory: true, Nullable: true},
	{Name: "InvoiceDetailId", Type: Text, Since: V1_4, Nullable: true},
	{Name: "InvoiceId", Type: Text, Since: V1_2, Nullable: true},
	{Name: "InvoiceIssuerName", Type: Text, Since: V1_0, Mandatory: true},
	{Name: "ListCost", Type: Decimal, Since: V1_0, Mandatory: true},
	{Name: "ListUnitPrice", Type: Decimal, Since: V1_0, Nullable: true, NonNegative: true},
	{Name: "PricingCategory", Type: Text, Since: V1_0, Nullable: true, Allowed: []string{"Standard", "Dynamic", "Committed", "Other"}},
	{Name: "PricingCurrency", Type: Text, Since: V1_2, Currency: true},
	{Name: "PricingCurrencyContractedUnitPrice", Type: Decimal, Since: V1_2, Nullable: true, NonNegative: true},
	{Name: "PricingCurrencyEffectiveCost", Type: Decimal, Since: V1_2},
	{Name: "PricingCurrencyListUnitPrice", Type: Decimal, Since: V1_2, Nullable: true, NonNegative: true},
	{Name: "PricingQuantity", Type: Decimal, Since: V1_0, Mandatory: true, Nullable: true},
	{Name: "PricingUnit", Type: Text, Since: V1_0, Mandatory: true, Nullable: true},
	{Name: "ProviderName", Type: Text, Since: V1_0, Until: V1_3, Mandatory: true},
	{Name: "PublisherName", Type: Text, Since: V1_0, Until: V1_3, Mandatory: true},
	{Name: "RegionId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "RegionName", Type: Text, Since: V1_0, Nullable: true},
	{Name: "ResourceId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "ResourceName", Type: Text, Since: V1_0, Nullable: true},
	{Name: "ResourceType", Type: Text, Since: V1_0, Nullable: true},
	{Name: "ServiceCategory", Type: Text, Since: V1_0, Mandatory: true, Allowed: []string{"AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools", "Multicloud", "Identity", "Integration", "Internet of Things", "Management and Governance", "Media", "Migration", "Mobile", "Networking", "Security", "Storage", "Web", "Other"}},
	{Name: "ServiceName", Type: Text, Since: V1_0, Mandatory: true},
	{Name: "ServiceProviderName", Type: Text, Since: V1_3, Mandatory: true},
	{Name: "ServiceSubcategory", Type: Text, Since: V1_1},
	{Name: "SkuId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "SkuMeter", Type: Text, Since: V1_1, Nullable: true},
	{Name: "SkuPriceDetails", Type: JSON, Since: V1_1, Nullable: true},
	{Name: "SkuPriceId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "SubAccountId", Type: Text, Since: V1_0, Nullable: true},
	{Name: "SubAccountName", Type: Text, Since: V1_0, Nullable: true},
	{Name: "SubAccountType", Type: Text, Since: V1_2, Nullable: true},
	{Name: "Tags", Type: JSON, Since: V1_0, Nullable: true},
}

var columnsByName = func() map[string]*Column {
	m := make(map[string]*Column, len(Columns))
	for i := range Columns {
		m[Columns[i].Name] = &Columns[i]
	}
	return m
}()

// has says whether the version has the column.
func (c *Column) has(v Version) bool { return c.Since <= v && (c.Until == 0 || v <= c.Until) }

// detect is the earliest version that has all the columns of a file that FOCUS knows. Files that carry the provider columns of 1.3 without
// those it replaced are 1.4.
func detect(names []string) Version {
	version := V1_0
	for _, name := range names {
		if c, ok := columnsByName[name]; ok {
			version = max(version, c.Since)
		}
	}
	if version == V1_3 && !slices.Contains(names, "ProviderName") && slices.Contains(names, "HostProviderName") {
		return V1_4
	}
	return version
}

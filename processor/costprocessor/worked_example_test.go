// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// billAttributes are the resource attributes that the focus receiver makes of columns and tags.
var (
	billAttributes = map[string]string{
		"SubAccountId": "cloud.account.id", "RegionId": "cloud.region", "SubAccountName": "focus.sub_account_name",
		"ServiceName": "focus.service_name", "ChargeCategory": "focus.charge_category",
	}
	billTags = map[string][]string{
		"focus.tag.business_unit": {"business_unit"}, "focus.tag.org": {" org", "org"}, "focus.tag.cost center": {"CostCenter"},
		"focus.tag.cost department": {"Cost department"}, "focus.tag.environment": {"environment"}, "focus.tag.env": {"env"},
	}
)

// workedExample is the processor of configs/cost/bill.yaml.
func workedExample(t *testing.T) *tagger {
	t.Helper()
	root := filepath.Join("..", "..", "configs", "cost")
	t.Setenv("PITWALL_COST_ACCOUNTS", filepath.Join(root, "accounts.csv"))
	conf, err := confmaptest.LoadConf(filepath.Join(root, "bill.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub("processors::cost")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	table := cfg.Tables["accounts"]
	table.Path = filepath.Join(root, "accounts.csv") // the file's own default is relative to the repository
	cfg.Tables["accounts"] = table
	require.NoError(t, cfg.Validate())
	require.LessOrEqual(t, len(cfg.Rules), 12)
	set := componenttest.NewNopTelemetrySettings()
	tel, err := metadata.NewTelemetryBuilder(set)
	require.NoError(t, err)
	tagger, err := newTagger(cfg, set, tel)
	require.NoError(t, err)
	require.NoError(t, tagger.load())
	return tagger
}

func TestTheWorkedExampleFindsAnOwnerForTheWholeSample(t *testing.T) {
	file, err := os.Open(data(t, "fixtures", "focus", "focus_sample.csv"))
	require.NoError(t, err)
	defer file.Close()
	src, err := focus.OpenCSV(file)
	require.NoError(t, err)
	tagger := workedExample(t)

	rows, exact, owned := 0, 0, 0
	var cost, exactCost, ownedCost money.Amount
	sources := map[string]int{}
	_, err = focus.ReadAll(src, func(c *focus.Charge) error {
		resource := pcommon.NewResource()
		for column, name := range billAttributes {
			if v := c.Value(column); v != "" {
				resource.Attributes().PutStr(name, v)
			}
		}
		for name, keys := range billTags {
			for _, key := range keys {
				if v := c.Tags()[key]; v != "" {
					resource.Attributes().PutStr(name, v)
				}
			}
		}
		amount := c.Costs[focus.Effective].Abs()
		rows++
		cost = cost.Plus(amount)
		if c.Tags()["business_unit"] != "" {
			exact++
			exactCost = exactCost.Plus(amount)
		}
		v := tagger.decide(t.Context(), resource)
		if !v.missing {
			owned++
			ownedCost = ownedCost.Plus(amount)
		}
		v.apply(resource)
		owner, _ := resource.Attributes().Get(attrOwner)
		switch {
		case c.Tags()["business_unit"] != "":
			assert.Equal(t, c.Tags()["business_unit"], owner.Str(), "a tag is never overruled")
			sources["tag"]++
		case c.Tags()["org"] != "" || c.Tags()[" org"] != "":
			assert.Equal(t, "trey", owner.Str())
			sources["tag of another name"]++
		case c.Value("ChargeCategory") == "Credit":
			assert.Equal(t, "finance", owner.Str())
			sources["credit"]++
		default:
			assert.Contains(t, owner.Str(), "account-")
			sources["account"]++
		}
		return nil
	})
	require.NoError(t, err)
	share := func(n int) float64 { return float64(n) / float64(rows) }
	assert.InDelta(t, 0.660, share(exact), 0.0005, "tagged business_unit exactly")
	assert.InDelta(t, 0.751, exactCost.Over(cost).Float64(), 0.0005)
	assert.GreaterOrEqual(t, share(owned), 0.99)
	assert.GreaterOrEqual(t, ownedCost.Over(cost).Float64(), 0.99)
	t.Logf("rows with an owner: %.1f %% by tag alone, %.1f %% with %d rules; cost: %.1f %% and %.1f %%; sources %v",
		100*share(exact), 100*share(owned), len(tagger.cfg.Rules), 100*exactCost.Over(cost).Float64(), 100*ownedCost.Over(cost).Float64(), sources)
}

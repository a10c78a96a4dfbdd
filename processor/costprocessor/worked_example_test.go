// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver"
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

var examples = filepath.Join("..", "..", "configs", "cost")

// exampleConfig is the processor of a worked example, with its files where they are in the repository.
func exampleConfig(t *testing.T, file string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join(examples, file))
	require.NoError(t, err)
	sub, err := conf.Sub("processors::cost")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	for name, table := range cfg.Tables {
		table.Path = filepath.Join(examples, name+".csv")
		cfg.Tables[name] = table
	}
	if cfg.Resources.PriceSheet != "" {
		cfg.Resources.PriceSheet = filepath.Join(examples, "prices.csv")
		cfg.Resources.CarbonSheet = filepath.Join(examples, "carbon.csv")
	}
	require.NoError(t, cfg.Validate())
	return cfg
}

func TestTheWorkedExampleOfServicesKnowsOwnersPricesAndBudgets(t *testing.T) {
	cfg := exampleConfig(t, "services.yaml")
	require.Len(t, cfg.Budgets, 2)
	cfg.Storage = nil
	r := newRig(t, func(c *Config) { *c = *cfg })
	for _, c := range []struct {
		attrs              map[string]any
		owner, criticality string
	}{
		{map[string]any{"service.name": "Checkout", "k8s.namespace.name": "prod"}, "team-checkout", "critical"},
		{map[string]any{"service.name": "payment-eu"}, "team-checkout", "critical"},
		{map[string]any{"service.name": "coredns", "k8s.namespace.name": "kube-system"}, "team-platform", "medium"},
		{map[string]any{"service.name": "new", "k8s.pod.label.team": "team-new"}, "team-new", "medium"},
		{map[string]any{"service.name": "new"}, "__unallocated__", "medium"},
	} {
		r.traces.Reset()
		require.NoError(t, r.pt.ConsumeTraces(t.Context(), spansOf(c.attrs, 1)))
		got := resourceOf(r.traces.AllTraces()[0])
		assert.Equal(t, c.owner, got[attrOwner], c.attrs)
		assert.Equal(t, c.criticality, got[attrCriticality], c.attrs)
	}
	assert.Equal(t, 4, r.engine.resources.sheet.Len())
	assert.Equal(t, 3, r.engine.resources.carbon.sheet.Len())
	r.stop(t)
}

// workedExample decides as the processor of configs/cost/bill.yaml does.
func workedExample(t *testing.T) *tagger {
	t.Helper()
	cfg := exampleConfig(t, "bill.yaml")
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
	file, err := os.Open(recordings.Path(t, "fixtures", "focus", "focus_sample.csv"))
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
	t.Logf("sources %v", sources)
	figures.Record(t, figures.Figure{
		Table: "Cost", Row: fmt.Sprintf("Attribution of the FOCUS sample, %d rules: rows; cost", len(tagger.cfg.Rules)),
		Reached: fmt.Sprintf("%.1f %% → %.1f %%; %.1f %% → %.1f %%", 100*share(exact), 100*share(owned), 100*exactCost.Over(cost).Float64(), 100*ownedCost.Over(cost).Float64()),
		Wanted:  "at least 99 % with 12 rules or fewer", Command: "go test -run WholeSample ./processor/costprocessor",
	})
}

func TestTheWorkedExampleTagsWhatTheFocusReceiverReads(t *testing.T) {
	sample, err := os.ReadFile(recordings.Path(t, "fixtures", "focus", "focus_sample.csv"))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sample.csv"), sample, 0o600))
		conf, err := confmaptest.LoadConf(filepath.Join(examples, "bill.yaml"))
		require.NoError(t, err)
		sub, err := conf.Sub("receivers::focus")
		require.NoError(t, err)
		factory := focusreceiver.NewFactory()
		cfg := factory.CreateDefaultConfig().(*focusreceiver.Config)
		require.NoError(t, sub.Unmarshal(cfg))
		cfg.Directory, cfg.Storage, cfg.Settle = dir, nil, 0

		example := exampleConfig(t, "bill.yaml")
		r := newRig(t, func(c *Config) { *c = *example })
		receiver, err := factory.CreateMetrics(t.Context(), receivertest.NewNopSettings(factory.Type()), cfg, r.pm)
		require.NoError(t, err)
		require.NoError(t, receiver.Start(t.Context(), componenttest.NewNopHost()))
		synctest.Wait()
		require.NoError(t, receiver.Shutdown(t.Context()))

		var owned, byTag, total money.Amount
		for _, md := range r.metrics.AllMetrics() {
			for _, rm := range md.ResourceMetrics().All() {
				var amount money.Amount
				eachBilled(rm, func(_ time.Time, _ string, a money.Amount) { amount = amount.Plus(a) })
				total = total.Plus(amount)
				if owner := first(rm.Resource().Attributes(), "", attrOwner); owner != "" && owner != example.MissingValue {
					owned = owned.Plus(amount)
				}
				if strings.Contains(first(rm.Resource().Attributes(), "", attrSource), "service.owner.name=alias:focus.tag.") {
					byTag = byTag.Plus(amount)
				}
			}
		}
		assert.InDelta(t, 14.97651418586, total.Float64(), 1e-12)
		assert.Zero(t, owned.Cmp(total), "all of it has an owner")
		assert.Positive(t, byTag.Sign(), "part of it by tags, under the names that the receiver gives them")
		r.stop(t)
	})
}

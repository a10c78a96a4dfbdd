// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/ownership"
)

const (
	owner      = "service.owner.name"
	costCenter = "service.instance.cost_center.id"
)

type attributes map[string]string

func (a attributes) Get(key string) (string, bool) { v, ok := a[key]; return v, ok }

func (a attributes) Range(f func(key, value string) bool) {
	keys := make([]string, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if !f(k, a[k]) {
			return
		}
	}
}

func resolver(t *testing.T, s ownership.Settings, tables ...*ownership.Table) *ownership.Resolver {
	t.Helper()
	byName := map[string]*ownership.Table{}
	for _, table := range tables {
		byName["owners"] = table
	}
	r, err := ownership.NewResolver(s, byName)
	require.NoError(t, err)
	return r
}

func table(t *testing.T, text string, fold bool, key ...string) *ownership.Table {
	t.Helper()
	out, err := ownership.ReadTable(strings.NewReader(text), ownership.TableSettings{Name: "owners", Format: ownership.CSV, Key: key, FoldCase: fold})
	require.NoError(t, err)
	return out
}

func TestTheFirstRuleThatGivesATagDecidesIt(t *testing.T) {
	r := resolver(t, ownership.Settings{Rules: []ownership.Rule{
		{Name: "prod", When: []ownership.Condition{{Attribute: "ns", Glob: []string{"prod-*"}}}, Set: map[string]string{owner: "sre"}},
		{Name: "all", Set: map[string]string{owner: "platform", costCenter: "42"}},
	}})
	d := r.Resolve(attributes{"ns": "prod-eu"})
	assert.Equal(t, []ownership.Tag{{Key: costCenter, Value: "42"}, {Key: owner, Value: "sre"}}, d.Tags)
	assert.Equal(t, costCenter+"=rule:all;"+owner+"=rule:prod", d.Provenance())
	d = r.Resolve(attributes{"ns": "dev"})
	got, _ := d.Get(owner)
	assert.Equal(t, "platform", got)
	_, ok := d.Get("other")
	assert.False(t, ok)
}

func TestAllPartsOfAConditionMustHold(t *testing.T) {
	cases := map[string]struct {
		when  []ownership.Condition
		attrs attributes
		want  bool
	}{
		"equals one of":          {[]ownership.Condition{{Attribute: "a", Equals: []string{"x", "y"}}}, attributes{"a": "y"}, true},
		"equals none":            {[]ownership.Condition{{Attribute: "a", Equals: []string{"x"}}}, attributes{"a": "y"}, false},
		"missing attribute":      {[]ownership.Condition{{Attribute: "a", Equals: []string{"x"}}}, attributes{}, false},
		"present is enough":      {[]ownership.Condition{{Attribute: "a"}}, attributes{"a": ""}, true},
		"expression":             {[]ownership.Condition{{Attribute: "a", Matches: regexp.MustCompile(`^web-\d+$`)}}, attributes{"a": "web-12"}, true},
		"expression fails":       {[]ownership.Condition{{Attribute: "a", Matches: regexp.MustCompile(`^web-\d+$`)}}, attributes{"a": "web-x"}, false},
		"glob and expression":    {[]ownership.Condition{{Attribute: "a", Glob: []string{"w*"}, Matches: regexp.MustCompile(`z$`)}}, attributes{"a": "wy"}, false},
		"absent":                 {[]ownership.Condition{{Attribute: "a", Absent: true}}, attributes{"b": "1"}, true},
		"absent but there":       {[]ownership.Condition{{Attribute: "a", Absent: true}}, attributes{"a": "1"}, false},
		"second condition fails": {[]ownership.Condition{{Attribute: "a"}, {Attribute: "b"}}, attributes{"a": "1"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := resolver(t, ownership.Settings{Rules: []ownership.Rule{{Name: "r", When: c.when, Set: map[string]string{owner: "x"}}}})
			_, ok := r.Resolve(c.attrs).Get(owner)
			assert.Equal(t, c.want, ok)
		})
	}
}

func TestAPredicateIsAskedLastAndMustHold(t *testing.T) {
	asked := 0
	r := resolver(t, ownership.Settings{Rules: []ownership.Rule{{
		Name: "r", When: []ownership.Condition{{Attribute: "a"}}, Set: map[string]string{owner: "x"},
		Predicate: func(a ownership.Attributes) bool { asked++; v, _ := a.Get("a"); return v == "1" },
	}}})
	_, ok := r.Resolve(attributes{"b": "1"}).Get(owner)
	assert.False(t, ok)
	assert.Zero(t, asked)
	_, ok = r.Resolve(attributes{"a": "2"}).Get(owner)
	assert.False(t, ok)
	_, ok = r.Resolve(attributes{"a": "1"}).Get(owner)
	assert.True(t, ok)
}

func TestTagsThatAreThereAreKeptOverwrittenOrChecked(t *testing.T) {
	rule := func(e ownership.Existing) *ownership.Resolver {
		return resolver(t, ownership.Settings{Rules: []ownership.Rule{{Name: "r", Existing: e, Set: map[string]string{owner: "rule"}}}})
	}
	has := attributes{owner: "resource"}

	d := rule("").Resolve(has)
	assert.Equal(t, owner+"=resource", d.Provenance())
	assert.Empty(t, d.Changed)

	d = rule(ownership.Overwrite).Resolve(has)
	assert.Equal(t, owner+"=rule:r", d.Provenance())
	assert.Equal(t, []ownership.Tag{{Key: owner, Value: "rule"}}, d.Changed)

	d = rule(ownership.Check).Resolve(has)
	assert.Equal(t, owner+"=resource", d.Provenance())
	assert.Equal(t, []ownership.Conflict{{Tag: owner, Has: "resource", Rule: "r", Says: "rule"}}, d.Conflicts)
	assert.Empty(t, rule(ownership.Check).Resolve(attributes{owner: "rule"}).Conflicts)
}

func TestAnOverwrittenTagIsNotOverwrittenAgain(t *testing.T) {
	r := resolver(t, ownership.Settings{Existing: ownership.Overwrite, Rules: []ownership.Rule{
		{Name: "first", Set: map[string]string{owner: "1"}}, {Name: "second", Set: map[string]string{owner: "2"}},
	}})
	got, _ := r.Resolve(attributes{owner: "0"}).Get(owner)
	assert.Equal(t, "1", got)
}

func TestAliasesAndValuesAreNormalised(t *testing.T) {
	r := resolver(t, ownership.Settings{
		Aliases: map[string][]string{costCenter: {"Cost Center"}, owner: {"org", "business_unit"}},
		Values:  map[string]map[string][]string{"deployment.environment.name": {"production": {"prod", "PRD"}}},
		Ignore:  []string{"null", "n/a"},
	})
	for _, name := range []string{"CostCenter", "cost-center", "cost_center", " Cost Center", "COST.CENTER"} {
		d := r.Resolve(attributes{name: "  CC  7 "})
		assert.Equal(t, []ownership.Tag{{Key: costCenter, Value: "CC 7"}}, d.Changed, name)
		assert.Equal(t, costCenter+"=alias:"+name, d.Provenance())
	}
	d := r.Resolve(attributes{" org": "trey", "deployment.environment.name": " Prod "})
	assert.Equal(t, []ownership.Tag{{Key: "deployment.environment.name", Value: "production"}, {Key: owner, Value: "trey"}}, d.Changed)
	assert.Empty(t, r.Resolve(attributes{"org": "NULL", "costcenter": " N/A ", "business_unit": " "}).Tags)
}

func TestATagsOwnNameBeatsAliasesInAnyOrder(t *testing.T) {
	r := resolver(t, ownership.Settings{Aliases: map[string][]string{"m": {"z", "a"}}})
	got, _ := r.Resolve(attributes{"a": "1", "m": "2", "z": "3"}).Get("m")
	assert.Equal(t, "2", got)
	got, _ = r.Resolve(attributes{"a": "1", "z": "3"}).Get("m")
	assert.Equal(t, "1", got)
}

func TestCopiesTakeTheFirstAttributeThatSaysSomething(t *testing.T) {
	r := resolver(t, ownership.Settings{Ignore: []string{"none"}, Rules: []ownership.Rule{
		{Name: "labels", Copy: map[string][]string{owner: {"k8s.pod.label.team", "k8s.namespace.name"}}},
	}})
	got, _ := r.Resolve(attributes{"k8s.pod.label.team": "None", "k8s.namespace.name": "shop"}).Get(owner)
	assert.Equal(t, "shop", got)
	_, ok := r.Resolve(attributes{}).Get(owner)
	assert.False(t, ok)
}

func TestDefaultsComeLastAndRequiredTagsAreMissed(t *testing.T) {
	r := resolver(t, ownership.Settings{
		Rules:    []ownership.Rule{{Name: "r", When: []ownership.Condition{{Attribute: "a"}}, Set: map[string]string{"service.criticality": "high"}}},
		Defaults: map[string]string{"service.criticality": "medium"},
		Required: []string{owner, "service.criticality"},
	})
	d := r.Resolve(attributes{})
	assert.Equal(t, "service.criticality=default", d.Provenance())
	assert.Equal(t, []string{owner}, d.Missing)
	d = r.Resolve(attributes{"a": "", owner: "me"})
	assert.Empty(t, d.Missing)
	assert.Equal(t, "service.criticality=rule:r;"+owner+"=resource", d.Provenance())
}

func TestLookupsFindExactKeysFirstThenPatternsInOrder(t *testing.T) {
	owners := table(t, "service,env,"+owner+"\ncheckout,prod,exact\ncheck*,*,pattern\n*,dev,devs\n", true, "service", "env")
	r := resolver(t, ownership.Settings{Rules: []ownership.Rule{
		{Name: "r", Lookup: &ownership.Lookup{Table: "owners", Key: []string{"service.name", "env"}}},
	}}, owners)
	for in, want := range map[[2]string]string{
		{"CheckOut", " prod"}: owner + "=table:owners:2",
		{"checkout", "dev"}:   owner + "=table:owners:3",
		{"cart", "dev"}:       owner + "=table:owners:4",
		{"cart", "prod"}:      "",
	} {
		assert.Equal(t, want, r.Resolve(attributes{"service.name": in[0], "env": in[1]}).Provenance(), in)
	}
	assert.Empty(t, r.Resolve(attributes{"service.name": "checkout"}).Tags, "a key with a part missing")
	_, ok := owners.Lookup("one part")
	assert.False(t, ok)
}

func TestALaterRuleSeesWhatAnEarlierOneFound(t *testing.T) {
	owners := table(t, owner+",service.owner.contact\ncheckout-team,#checkout\n", false, owner)
	r := resolver(t, ownership.Settings{
		Aliases: map[string][]string{owner: {"team"}},
		Rules:   []ownership.Rule{{Name: "contact", Lookup: &ownership.Lookup{Table: "owners", Key: []string{owner}}}},
	}, owners)
	got, _ := r.Resolve(attributes{"Team": "checkout-team"}).Get("service.owner.contact")
	assert.Equal(t, "#checkout", got)
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	owners := table(t, "a,b\n1,2\n", false, "a")
	for name, s := range map[string]ownership.Settings{
		"unknown table":          {Rules: []ownership.Rule{{Name: "r", Lookup: &ownership.Lookup{Table: "none", Key: []string{"a"}}}}},
		"key width":              {Rules: []ownership.Rule{{Name: "r", Lookup: &ownership.Lookup{Table: "owners", Key: []string{"a", "b"}}}}},
		"one alias for two tags": {Aliases: map[string][]string{"x": {"cost-center"}, "y": {"CostCenter"}}},
	} {
		_, err := ownership.NewResolver(s, map[string]*ownership.Table{"owners": owners})
		assert.Error(t, err, name)
	}
}

func TestTablesOfAllFormatsGiveTheSameRows(t *testing.T) {
	for format, text := range map[ownership.Format]string{
		ownership.CSV:  "\ufeffservice, team ,cc\n# a comment\ncart,shop,7\n",
		ownership.YAML: "- {service: cart, team: shop, cc: 7}\n",
		ownership.JSON: `[{"service": "cart", "team": "shop", "cc": 7, "none": null}]`,
	} {
		got, err := ownership.ReadTable(strings.NewReader(text), ownership.TableSettings{
			Name: "t", Format: format, Key: []string{"service"}, Columns: map[string]string{"team": owner, "cc": costCenter},
		})
		require.NoError(t, err, format)
		row, ok := got.Lookup("cart")
		require.True(t, ok, format)
		assert.Equal(t, []ownership.Tag{{Key: owner, Value: "shop"}, {Key: costCenter, Value: "7"}}, row.Tags, format)
	}
}

func TestBrokenTablesAreRefusedWithTheirLine(t *testing.T) {
	for name, c := range map[string]struct {
		format ownership.Format
		text   string
		says   string
	}{
		"empty":           {ownership.CSV, "", "header"},
		"no rows":         {ownership.CSV, "k,v\n", "no rows"},
		"no key column":   {ownership.CSV, "x,v\n1,2\n", `line 1: key column "k" is missing`},
		"column twice":    {ownership.CSV, "k,v,v\n1,2,3\n", "line 1"},
		"key twice":       {ownership.CSV, "k,v\n1,2\n\n1,3\n", `line 4: key "1" stands on line 2 already`},
		"empty key":       {ownership.CSV, "k,v\n ,2\n", "line 2"},
		"cell too many":   {ownership.CSV, "k,v\n1,2,3\n", "line 2"},
		"open quote":      {ownership.CSV, "k,v\n1,\"2\n", "line"},
		"yaml not a list": {ownership.YAML, "k: 1\n", "line 1"},
		"yaml row no map": {ownership.YAML, "- k: 1\n- 2\n", "line 2"},
		"yaml nested":     {ownership.YAML, "- k: [1]\n", "line 1"},
		"yaml broken":     {ownership.YAML, "- k: 1\n  : -\n x", "line"},
		"yaml empty":      {ownership.YAML, "", "no rows"},
		"json broken":     {ownership.JSON, "[\n{\"k\": 1},\n{\"k\": }]", "line 3"},
		"json not a list": {ownership.JSON, "{}", "cannot unmarshal"},
		"unknown format":  {"toml", "", "unknown table format"},
	} {
		_, err := ownership.ReadTable(strings.NewReader(c.text), ownership.TableSettings{Name: "t", Format: c.format, Key: []string{"k"}})
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.says, name)
		assert.Contains(t, err.Error(), "table t", name)
	}
}

func FuzzGlobAgreesWithAnExpression(f *testing.F) {
	for _, c := range [][2]string{{"a*b", "ab"}, {"*", ""}, {"?b*", "xbc"}, {"a**", "a"}, {"*a*a*", "aXa"}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.TrimSpace(pattern) != pattern || strings.TrimSpace(s) != s || pattern == "" || !strings.ContainsAny(pattern, "*?") ||
			strings.ContainsAny(pattern+s, "\x1f\"\r\n,#") || !isASCII(pattern+s) || len(pattern) > 40 {
			t.Skip()
		}
		got, err := ownership.ReadTable(strings.NewReader("k,v\n"+pattern+",1\n"), ownership.TableSettings{Name: "t", Format: ownership.CSV, Key: []string{"k"}})
		if err != nil {
			t.Skip()
		}
		expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		_, ok := got.Lookup(s)
		require.Equal(t, regexp.MustCompile(`(?s)^`+expression+`$`).MatchString(s), ok, "%q %q", pattern, s)
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func TestTheCacheStaysWithinItsBoundsAndNeverAnswersWrongly(t *testing.T) {
	c := ownership.NewCache[int](100, 1000)
	for i := range 10_000 {
		key := fmt.Appendf(nil, "key-%d", i%731)
		if v, ok := c.Get(key); ok {
			require.Equal(t, i%731, v)
		} else {
			c.Put(key, i%731)
		}
		require.LessOrEqual(t, c.Len(), 100)
	}
	c.Put([]byte("twice"), 1)
	c.Put([]byte("twice"), 2)
	v, ok := c.Get([]byte("twice"))
	assert.True(t, ok)
	assert.Equal(t, 2, v)
	c.Put(make([]byte, 1<<15), 1)
	_, ok = c.Get(make([]byte, 1<<15))
	assert.False(t, ok, "keys beyond the limit are not kept")
}

func TestEntriesInUseSurviveAFloodOfNewOnes(t *testing.T) {
	c := ownership.NewCache[int](100, 1<<20)
	c.Put([]byte("hot"), 1)
	for i := range 5000 {
		c.Put(fmt.Appendf(nil, "cold-%d", i), i)
		_, ok := c.Get([]byte("hot"))
		require.True(t, ok, "after %d", i)
	}
}

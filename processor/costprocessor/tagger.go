// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlresource"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/cost/ownership"
	"github.com/pitwall-io/pitwall/processor/costprocessor/internal/metadata"
)

// tagger decides the tags of resources and remembers its decisions. Tables and cache form one generation: a reload builds the next one
// beside it and swaps a pointer, so that no record waits for a file.
type tagger struct {
	cfg    *Config
	logger *zap.Logger
	tel    *metadata.TelemetryBuilder
	rules  []ownership.Rule
	// unowned are the resources without an owner.
	unowned *unownedLedger

	now atomic.Pointer[generation]

	mu     sync.Mutex // held while tables are read; guards tables and files
	tables map[string]*ownership.Table
	files  map[string]fileStamp
}

// generation is one set of tables and what was decided with it.
type generation struct {
	resolver *ownership.Resolver
	cache    *ownership.Cache[*verdict]
	front    *front
}

// verdict is what the processor does to one resource. It is immutable.
type verdict struct {
	put     []ownership.Tag
	missing bool
	drop    bool
	account account
	unowned *unowned // set when missing
}

// unknownService is the account of resources that name no service.
const unknownService = "unknown_service"

// serviceNames are the attributes that name the service, the best first.
var serviceNames = []string{
	"service.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name", "k8s.container.name",
}

// fileStamp tells whether a file changed.
type fileStamp struct {
	modified time.Time
	size     int64
}

func newTagger(cfg *Config, set component.TelemetrySettings, tel *metadata.TelemetryBuilder) (*tagger, error) {
	t := &tagger{cfg: cfg, logger: set.Logger, tel: tel, tables: map[string]*ownership.Table{}, files: map[string]fileStamp{}, unowned: newUnownedLedger(cfg.Cache.MaxResources)}
	for i := range cfg.Rules {
		rule, err := t.rule(&cfg.Rules[i], set)
		if err != nil {
			return nil, fmt.Errorf("rules[%d] (%s): %w", i, cfg.Rules[i].Name, err)
		}
		t.rules = append(t.rules, rule)
	}
	return t, nil
}

func (t *tagger) rule(c *RuleConfig, set component.TelemetrySettings) (ownership.Rule, error) {
	rule := ownership.Rule{Name: c.Name, Set: c.Set, Copy: c.Copy, Existing: c.Existing}
	for _, when := range c.When {
		condition := ownership.Condition{Attribute: when.Attribute, Equals: when.Equals, Glob: when.Glob, Absent: when.Absent}
		if when.Matches != "" {
			expression, err := regexp.Compile(when.Matches)
			if err != nil {
				return rule, err
			}
			condition.Matches = expression
		}
		rule.When = append(rule.When, condition)
	}
	if c.Lookup != nil {
		rule.Lookup = &ownership.Lookup{Table: c.Lookup.Table, Key: c.Lookup.Key}
	}
	if c.OTTL == "" {
		return rule, nil
	}
	parser, err := ottlresource.NewParser(ottlfuncs.StandardConverters[*ottlresource.TransformContext](), set)
	if err != nil {
		return rule, err
	}
	condition, err := parser.ParseCondition(c.OTTL)
	if err != nil {
		return rule, fmt.Errorf("ottl: %w", err)
	}
	rule.Predicate = t.predicate(c.Name, condition)
	return rule, nil
}

func (t *tagger) predicate(rule string, condition *ottl.Condition[*ottlresource.TransformContext]) func(ownership.Attributes) bool {
	return func(attrs ownership.Attributes) bool {
		resource, ok := attrs.(resourceAttributes)
		if !ok {
			return false
		}
		tCtx := ottlresource.NewTransformContextPtr(resource.resource, noSchema{})
		defer tCtx.Close()
		ctx := context.Background()
		met, err := condition.Eval(ctx, tCtx)
		if err != nil {
			t.tel.CostRuleErrors.Add(ctx, 1, metric.WithAttributes(attribute.String("rule", rule)))
			return false
		}
		return met
	}
}

// noSchema is the schema URL of a resource whose decision must not depend on it: the cache does not know it.
type noSchema struct{}

func (noSchema) SchemaUrl() string   { return "" }
func (noSchema) SetSchemaUrl(string) {}

// load reads all tables for the first time; each of them must be there and whole.
func (t *tagger) load() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range t.tableNames() {
		if _, err := t.readTableLocked(name); err != nil {
			return err
		}
	}
	return t.swapLocked()
}

// reload reads the tables that changed. A table that cannot be read is counted and logged once, and stays as it was.
func (t *tagger) reload(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := false
	for _, name := range t.tableNames() {
		read, err := t.readTableLocked(name)
		if !read && err == nil {
			continue
		}
		outcome := "success"
		if err != nil {
			outcome = "failure"
			t.logger.Error("Lookup table cannot be read; the one before stays in force", zap.String("table", name), zap.Error(err))
		}
		t.tel.CostTableReloads.Add(ctx, 1, metric.WithAttributes(attribute.String("table", name), attribute.String("outcome", outcome)))
		changed = changed || read && err == nil
	}
	if !changed {
		return
	}
	if err := t.swapLocked(); err != nil {
		t.logger.Error("Rules do not fit the new tables; the ones before stay in force", zap.Error(err))
	}
}

func (t *tagger) tableNames() []string {
	names := make([]string, 0, len(t.cfg.Tables))
	for name := range t.cfg.Tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// readTableLocked reads a table if its file changed since the last attempt, and says whether it tried.
func (t *tagger) readTableLocked(name string) (bool, error) {
	c := t.cfg.Tables[name]
	info, err := os.Stat(c.Path)
	if err != nil {
		if _, known := t.tables[name]; known && errors.Is(err, os.ErrNotExist) && t.files[name] == (fileStamp{}) {
			return false, nil // reported when it vanished
		}
		t.files[name] = fileStamp{}
		return true, fmt.Errorf("tables.%s: %w", name, err)
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if t.files[name] == stamp {
		return false, nil
	}
	t.files[name] = stamp
	if stamp.size > maxFile {
		return true, fmt.Errorf("tables.%s: %s: %w", name, c.Path, errFileTooLarge)
	}
	file, err := os.Open(c.Path)
	if err != nil {
		return true, fmt.Errorf("tables.%s: %w", name, err)
	}
	defer file.Close()
	table, err := ownership.ReadTable(file, ownership.TableSettings{
		Name: name, Format: c.format(), Key: c.Key, Columns: c.Columns, FoldCase: c.FoldCase,
	})
	if err != nil {
		return true, fmt.Errorf("%s: %w", c.Path, err)
	}
	t.tables[name] = table
	return true, nil
}

func (t *tagger) swapLocked() error {
	resolver, err := ownership.NewResolver(ownership.Settings{
		Rules: t.rules, Aliases: t.cfg.Aliases, Values: t.cfg.Values, Ignore: t.cfg.IgnoreValues,
		Defaults: t.cfg.Defaults, Required: t.cfg.Required, Existing: t.cfg.Existing,
	}, maps.Clone(t.tables))
	if err != nil {
		return err
	}
	t.now.Store(&generation{
		resolver: resolver,
		cache:    ownership.NewCache[*verdict](t.cfg.Cache.MaxResources, t.cfg.Cache.MaxMiB<<20),
		front:    newFront(t.cfg.Cache.MaxResources),
	})
	return nil
}

// keys are buffers for cache keys.
var keys = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// decide is the verdict on a resource. It does not allocate when the resource was seen before.
func (t *tagger) decide(ctx context.Context, resource pcommon.Resource) *verdict {
	g := t.now.Load()
	mark := fingerprintOf(resource.Attributes())
	if v := g.front.get(mark); v != nil {
		return v
	}
	v := t.remembered(ctx, g, resource)
	g.front.put(mark, v)
	return v
}

// remembered is the verdict on a resource that the front does not know.
func (t *tagger) remembered(ctx context.Context, g *generation, resource pcommon.Resource) *verdict {
	buffer := keys.Get().(*[]byte)
	key := appendKey((*buffer)[:0], resource.Attributes())
	v, ok := g.cache.Get(key)
	if !ok {
		t.tel.CostCacheMisses.Add(ctx, 1)
		v = t.judge(ctx, g.resolver.Resolve(resourceAttributes{resource}), resource)
		if v.missing {
			v.unowned = t.unowned.entry(key, resource)
		}
		g.cache.Put(key, v)
	}
	if cap(key) <= 1<<16 {
		*buffer = key
	}
	keys.Put(buffer)
	return v
}

func (t *tagger) judge(ctx context.Context, d *ownership.Resolution, resource pcommon.Resource) *verdict {
	v := &verdict{put: slices.Clone(d.Changed), missing: len(d.Missing) > 0}
	v.account.service = nameable(first(resource.Attributes(), unknownService, serviceNames...))
	v.account.owner = nameable(effective(d, resource, attrOwner))
	v.account.costCenter = nameable(effective(d, resource, attrCostCenter))
	provenance := d.Provenance()
	if v.missing {
		switch t.cfg.OnMissing {
		case Drop:
			v.drop = true
		case Route:
			v.put = append(v.put, ownership.Tag{Key: attrRoute, Value: routeUnallocated})
		case Tag:
			for _, tag := range d.Missing {
				v.put = append(v.put, ownership.Tag{Key: tag, Value: t.cfg.MissingValue})
				if provenance != "" {
					provenance += ";"
				}
				provenance += tag + "=missing"
			}
		}
		if v.account.owner == "" {
			v.account.owner = t.cfg.MissingValue
		}
	}
	if t.cfg.Provenance && provenance != "" {
		v.put = append(v.put, ownership.Tag{Key: attrSource, Value: provenance})
	}
	if len(d.Conflicts) > 0 {
		var b strings.Builder
		for i, c := range d.Conflicts {
			t.tel.CostTagConflicts.Add(ctx, 1, metric.WithAttributes(attribute.String("tag", c.Tag), attribute.String("rule", c.Rule)))
			if i > 0 {
				b.WriteByte(';')
			}
			fmt.Fprintf(&b, "%s: %s says %q", c.Tag, c.Rule, c.Says)
		}
		v.put = append(v.put, ownership.Tag{Key: attrConflict, Value: b.String()})
	}
	return v
}

// effective is the value a tag has after the verdict: what was decided, or what the resource says where nothing decides.
func effective(d *ownership.Resolution, resource pcommon.Resource, tag string) string {
	value, ok := d.Get(tag)
	if !ok {
		value, _ = resourceAttributes{resource}.Get(tag)
	}
	return value
}

// apply writes the tags of a verdict to a resource.
func (v *verdict) apply(resource pcommon.Resource) {
	if len(v.put) == 0 {
		return
	}
	attrs := resource.Attributes()
	attrs.EnsureCapacity(attrs.Len() + len(v.put))
	for i := range v.put {
		attrs.PutStr(v.put[i].Key, v.put[i].Value)
	}
}

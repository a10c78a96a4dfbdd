// SPDX-License-Identifier: Apache-2.0

// Package ownership decides who owns a resource and which cost centre pays for it: rules in order, lookup tables, aliases of attribute
// names, normalised values, defaults, and for every tag where it came from.
package ownership

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Tag is one attribute and its value.
type Tag struct {
	Key   string
	Value string
}

// Attributes are what a decision is made from: the attributes of one resource, or the columns of one row of a bill.
type Attributes interface {
	// Get is the value of an attribute as text.
	Get(key string) (string, bool)
	// Range calls f for every attribute until f returns false.
	Range(f func(key, value string) bool)
}

// Existing says what becomes of a tag that the resource brings along.
type Existing string

// What becomes of a tag that is there already.
const (
	// Keep lets it stand.
	Keep Existing = "keep"
	// Overwrite replaces it by what the rule says.
	Overwrite Existing = "overwrite"
	// Check lets it stand, and reports a conflict when the rule says something else.
	Check Existing = "check"
)

// Condition is a test of one attribute. All of its parts that are set must hold.
type Condition struct {
	// Attribute is the attribute's name.
	Attribute string
	// Equals holds when the value is one of these.
	Equals []string
	// Glob holds when the value matches one of these patterns, in which * is any run of characters and ? any one.
	Glob []string
	// Matches holds when the expression matches somewhere in the value.
	Matches *regexp.Regexp
	// Absent holds when the resource does not have the attribute.
	Absent bool
}

func (c *Condition) holds(attrs Attributes) bool {
	value, ok := attrs.Get(c.Attribute)
	if c.Absent {
		return !ok
	}
	return ok &&
		(len(c.Equals) == 0 || slices.Contains(c.Equals, value)) &&
		(len(c.Glob) == 0 || slices.ContainsFunc(c.Glob, func(p string) bool { return globMatch(p, value, false) })) &&
		(c.Matches == nil || c.Matches.MatchString(value))
}

// Lookup takes tags from a table.
type Lookup struct {
	// Table is the table's name.
	Table string
	// Key are the attributes that give the key, one for each key column of the table.
	Key []string
}

// Rule gives tags to the resources for which all its conditions hold.
type Rule struct {
	// Name stands in the provenance of the tags.
	Name string
	// When are the conditions; none means every resource. They see the tags that aliases and earlier rules decided.
	When []Condition
	// Predicate is a further condition, written in a language of the caller's.
	Predicate func(Attributes) bool
	// Set gives a tag a fixed value.
	Set map[string]string
	// Copy gives a tag the value of the first of these attributes that the resource has.
	Copy map[string][]string
	// Lookup gives the tags of a table row.
	Lookup *Lookup
	// Existing says what becomes of tags that are there already. Empty means the setting of the resolver.
	Existing Existing
}

// Settings make a Resolver.
type Settings struct {
	// Rules are tried in order; the first that gives a tag decides it.
	Rules []Rule
	// Aliases are other names under which a tag may already be there, compared without case, white space, '-', '_', '.', ':' and '/'.
	Aliases map[string][]string
	// Values maps a tag's canonical values to their synonyms, compared without case and surrounding white space.
	Values map[string]map[string][]string
	// Ignore are values that say nothing: a tag with one of them counts as absent. Compared without case.
	Ignore []string
	// Defaults are the values of tags that nothing else decided.
	Defaults map[string]string
	// Required are the tags whose absence makes a resource unallocated.
	Required []string
	// Existing is what becomes of tags that are there already, unless a rule says otherwise. Empty means Keep.
	Existing Existing
}

// Resolver decides tags. It is immutable and safe for concurrent use.
type Resolver struct {
	settings Settings
	tables   map[string]*Table
	aliases  map[string]string            // normalised name → tag
	values   map[string]map[string]string // tag → folded synonym → canonical
	ignore   map[string]bool
	tags     []string // every tag that can be decided, in a stable order
}

var (
	errNoTable    = errors.New("no such table")
	errKeyWidth   = errors.New("number of key attributes differs from the table's key columns")
	errTwoAliases = errors.New("two tags claim one alias")
)

// NewResolver compiles the settings. Every table that a rule names must be given.
func NewResolver(s Settings, tables map[string]*Table) (*Resolver, error) {
	r := &Resolver{
		settings: s, tables: tables,
		aliases: map[string]string{}, values: map[string]map[string]string{}, ignore: map[string]bool{},
	}
	if r.settings.Existing == "" {
		r.settings.Existing = Keep
	}
	for tag, names := range s.Aliases {
		for _, name := range names {
			n := normalizeName(name)
			if other, ok := r.aliases[n]; ok && other != tag {
				return nil, fmt.Errorf("%w: %q is an alias of %s and of %s", errTwoAliases, name, min(tag, other), max(tag, other))
			}
			r.aliases[n] = tag
		}
	}
	for tag, canonical := range s.Values {
		r.values[tag] = map[string]string{}
		for value, synonyms := range canonical {
			for _, synonym := range append([]string{value}, synonyms...) {
				r.values[tag][foldValue(synonym)] = value
			}
		}
	}
	for _, value := range s.Ignore {
		r.ignore[foldValue(value)] = true
	}
	tags := map[string]bool{}
	for i := range s.Rules {
		if err := r.collect(&s.Rules[i], tags); err != nil {
			return nil, fmt.Errorf("rule %s: %w", s.Rules[i].Name, err)
		}
	}
	for tag := range s.Aliases {
		tags[tag] = true
	}
	for tag := range s.Defaults {
		tags[tag] = true
	}
	for tag := range s.Values {
		tags[tag] = true
	}
	for _, tag := range s.Required {
		tags[tag] = true
	}
	for tag := range tags {
		r.tags = append(r.tags, tag)
	}
	slices.Sort(r.tags)
	return r, nil
}

func (r *Resolver) collect(rule *Rule, tags map[string]bool) error {
	for tag := range rule.Set {
		tags[tag] = true
	}
	for tag := range rule.Copy {
		tags[tag] = true
	}
	if rule.Lookup == nil {
		return nil
	}
	table, ok := r.tables[rule.Lookup.Table]
	if !ok || table == nil {
		return fmt.Errorf("%w: %q", errNoTable, rule.Lookup.Table)
	}
	if len(rule.Lookup.Key) != table.width {
		return fmt.Errorf("%w: %d and %d", errKeyWidth, len(rule.Lookup.Key), table.width)
	}
	for _, row := range table.exact {
		for _, tag := range row.Tags {
			tags[tag.Key] = true
		}
	}
	for _, p := range table.patterns {
		for _, tag := range p.row.Tags {
			tags[tag.Key] = true
		}
	}
	return nil
}

// Conflict is a tag that the resource and a checking rule disagree on. The resource's value stands.
type Conflict struct {
	Tag, Has, Rule, Says string
}

// Resolution is the decision about one resource.
type Resolution struct {
	// Tags are all tags that are decided, sorted by key.
	Tags []Tag
	// Sources says for each of Tags where it came from: "resource", "alias:<attribute>", "rule:<name>", "table:<name>:<line>" or "default".
	Sources []string
	// Changed are those of Tags that the resource does not have in this form yet.
	Changed []Tag
	// Missing are the required tags that nothing decided.
	Missing []string
	// Conflicts are the disagreements that checking rules found.
	Conflicts []Conflict
}

// Get is the value of a decided tag.
func (d *Resolution) Get(tag string) (string, bool) {
	i, ok := slices.BinarySearchFunc(d.Tags, tag, func(t Tag, key string) int { return strings.Compare(t.Key, key) })
	if !ok {
		return "", false
	}
	return d.Tags[i].Value, true
}

// Provenance is one line that names the source of every tag: "tag=source;tag=source".
func (d *Resolution) Provenance() string {
	var b strings.Builder
	for i, tag := range d.Tags {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(tag.Key)
		b.WriteByte('=')
		b.WriteString(d.Sources[i])
	}
	return b.String()
}

type decision struct {
	value, source string
	// fixed says that no later rule may change the tag.
	fixed bool
}

// overlay shows the tags decided so far on top of the resource's own attributes: a later rule can look up what an earlier one found.
type overlay struct {
	Attributes
	decided map[string]decision
}

func (o *overlay) Get(key string) (string, bool) {
	if d, ok := o.decided[key]; ok {
		return d.value, true
	}
	return o.Attributes.Get(key)
}

// Resolve decides the tags of one resource.
func (r *Resolver) Resolve(attrs Attributes) *Resolution {
	decided := r.present(attrs)
	out := &Resolution{}
	known := &overlay{Attributes: attrs, decided: decided}
	for i := range r.settings.Rules {
		rule := &r.settings.Rules[i]
		if !rule.matches(known) || rule.Predicate != nil && !rule.Predicate(attrs) {
			continue
		}
		existing := rule.Existing
		if existing == "" {
			existing = r.settings.Existing
		}
		r.apply(rule, known, func(tag, value, source string) {
			value = r.normalizeValue(tag, value)
			if value == "" {
				return
			}
			now, ok := decided[tag]
			switch {
			case !ok:
				decided[tag] = decision{value, source, true}
			case now.fixed:
			case existing == Overwrite:
				decided[tag] = decision{value, source, true}
			case existing == Check && now.value != value:
				out.Conflicts = append(out.Conflicts, Conflict{Tag: tag, Has: now.value, Rule: rule.Name, Says: value})
			}
		})
	}
	for tag, value := range r.settings.Defaults {
		if _, ok := decided[tag]; !ok {
			decided[tag] = decision{value, "default", true}
		}
	}
	for _, tag := range r.tags {
		d, ok := decided[tag]
		if !ok {
			if slices.Contains(r.settings.Required, tag) {
				out.Missing = append(out.Missing, tag)
			}
			continue
		}
		out.Tags = append(out.Tags, Tag{tag, d.value})
		out.Sources = append(out.Sources, d.source)
		if raw, has := attrs.Get(tag); !has || raw != d.value {
			out.Changed = append(out.Changed, Tag{tag, d.value})
		}
	}
	slices.SortStableFunc(out.Conflicts, func(a, b Conflict) int { return strings.Compare(a.Tag, b.Tag) })
	return out
}

// present are the tags that the resource brings along, under their own name or, failing that, an alias. Of two aliases of one tag the
// one whose name sorts first counts, so that the order of attributes does not matter.
func (r *Resolver) present(attrs Attributes) map[string]decision {
	present := make(map[string]decision, len(r.tags))
	attrs.Range(func(key, raw string) bool {
		tag, alias := key, false
		if _, ok := slices.BinarySearch(r.tags, key); !ok {
			if tag, alias = r.alias(key); !alias {
				return true
			}
		}
		value := r.normalizeValue(tag, raw)
		if value == "" {
			return true
		}
		source := "resource"
		if alias {
			source = "alias:" + key
		}
		if now, ok := present[tag]; ok && (now.source == "resource" || source != "resource" && now.source <= source) {
			return true
		}
		present[tag] = decision{value: value, source: source}
		return true
	})
	return present
}

func (r *Resolver) alias(key string) (string, bool) {
	if len(r.aliases) == 0 {
		return "", false
	}
	tag, ok := r.aliases[normalizeName(key)]
	return tag, ok
}

func (rule *Rule) matches(attrs Attributes) bool {
	for i := range rule.When {
		if !rule.When[i].holds(attrs) {
			return false
		}
	}
	return true
}

func (r *Resolver) apply(rule *Rule, attrs Attributes, give func(tag, value, source string)) {
	if rule.Lookup != nil {
		key := make([]string, len(rule.Lookup.Key))
		complete := true
		for i, attribute := range rule.Lookup.Key {
			value, ok := attrs.Get(attribute)
			key[i], complete = value, complete && ok
		}
		if complete {
			if row, ok := r.tables[rule.Lookup.Table].Lookup(key...); ok {
				source := fmt.Sprintf("table:%s:%d", rule.Lookup.Table, row.Line)
				for _, tag := range row.Tags {
					give(tag.Key, tag.Value, source)
				}
			}
		}
	}
	source := "rule:" + rule.Name
	for tag, attributes := range rule.Copy {
		for _, attribute := range attributes {
			if value, ok := attrs.Get(attribute); ok && r.normalizeValue(tag, value) != "" {
				give(tag, value, source)
				break
			}
		}
	}
	for tag, value := range rule.Set {
		give(tag, value, source)
	}
}

// normalizeValue trims a value, joins inner white space to one blank, and gives the canonical form of a synonym; "" when it says nothing.
func (r *Resolver) normalizeValue(tag, value string) string {
	value = strings.Join(strings.Fields(value), " ")
	if len(r.ignore) > 0 && r.ignore[foldValue(value)] {
		return ""
	}
	if synonyms, ok := r.values[tag]; ok {
		if canonical, ok := synonyms[foldValue(value)]; ok {
			return canonical
		}
	}
	return value
}

func foldValue(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// normalizeName folds an attribute name: "CostCenter", "cost-center", "cost_center" and " Cost Center" are one.
func normalizeName(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch c {
		case ' ', '\t', '-', '_', '.', ':', '/':
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

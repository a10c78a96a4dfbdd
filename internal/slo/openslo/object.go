// SPDX-License-Identifier: Apache-2.0

package openslo

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// reader walks documents and notes what is wrong with them.
type reader struct {
	file       string
	kind, name string // of the document being read
	line       int    // where it begins
	problems   []error
	warnings   []Problem
}

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, r.problem(n, format, args...))
}

func (r *reader) warn(n *yaml.Node, format string, args ...any) {
	r.warnings = append(r.warnings, r.problem(n, format, args...))
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) Problem {
	line := r.line
	if n != nil {
		line = n.Line
	}
	return Problem{Position{r.file, line}, r.kind, cut(r.name), cut(fmt.Sprintf(format, args...))}
}

const (
	// maxReason is how long what is said of one problem may be, in bytes, and maxProblems of how many is spoken.
	maxReason   = 1000
	maxProblems = 20
)

// cut keeps the beginning of a text: what is wrong may quote what was written, which may be anything.
func cut(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + " …"
}

// err is what is wrong, the first of it where it is much.
func (r *reader) err() error {
	if n := len(r.problems); n > maxProblems {
		return errors.Join(append(slices.Clone(r.problems[:maxProblems]), fmt.Errorf("and %d more", n-maxProblems))...)
	}
	return errors.Join(r.problems...)
}

// object is a mapping whose keys have been checked.
type object struct {
	r      *reader
	node   *yaml.Node
	path   string
	fields map[string]*yaml.Node
	lines  map[string]*yaml.Node // of the keys
}

// object reads a mapping. Keys that are not allowed are faults, unless none are given: then any is.
func (r *reader) object(n *yaml.Node, path string, allowed ...string) object {
	o := object{r: r, node: n, path: path, fields: map[string]*yaml.Node{}, lines: map[string]*yaml.Node{}}
	n = resolved(n)
	switch {
	case n == nil || n.Tag == "!!null":
		return o
	case n.Kind != yaml.MappingNode:
		r.fault(n, "%s must be a mapping", cmp.Or(path, "a document"))
		return o
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		switch {
		case o.lines[key.Value] != nil:
			r.fault(key, "%s is given twice", join(path, key.Value))
			continue
		case allowed != nil && !slices.Contains(allowed, key.Value):
			r.fault(key, "%s is unknown; known are %s", join(path, key.Value), strings.Join(allowed, ", "))
			continue
		}
		o.lines[key.Value] = key
		if value.Tag != "!!null" {
			o.fields[key.Value] = value
		}
	}
	return o
}

func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fault notes that the value of a key is wrong.
func (o object) fault(key, format string, args ...any) {
	o.r.fault(o.at(key), "%s: %s", join(o.path, key), fmt.Sprintf(format, args...))
}

func (o object) warn(key, format string, args ...any) {
	o.r.warn(o.at(key), "%s: %s", join(o.path, key), fmt.Sprintf(format, args...))
}

// at is the node that stands for a key: its own, or the object's where it is missing.
func (o object) at(key string) *yaml.Node {
	if n := o.lines[key]; n != nil {
		return n
	}
	return o.node
}

func (o object) has(key string) bool { return o.fields[key] != nil }

// required is the node of a key that must be there.
func (o object) required(key string) *yaml.Node {
	n := o.fields[key]
	if n == nil && o.lines[key] == nil {
		o.r.fault(o.node, "%s is missing", join(o.path, key))
	}
	return n
}

func (o object) object(key string, required bool, allowed ...string) object {
	n := o.fields[key]
	if required {
		n = o.required(key)
	}
	inner := o.r.object(n, join(o.path, key), allowed...)
	if inner.node == nil {
		inner.node = o.at(key)
	}
	return inner
}

// free is a mapping with keys of the user's choice.
func (o object) free(key string) object { return o.object(key, false) }

func (o object) text(key string, required bool) string {
	n := o.fields[key]
	if required {
		n = o.required(key)
	}
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || required && n.Value == "" {
		o.fault(key, "must be a string")
		return ""
	}
	return n.Value
}

func (o object) description() string {
	text := o.text("description", false)
	if n := len([]rune(text)); n > maxDescription {
		o.fault("description", "may have up to %d characters (got %d)", maxDescription, n)
	}
	return text
}

func (o object) oneOf(key string, required bool, allowed ...string) string {
	value := o.text(key, required)
	if value != "" && !slices.Contains(allowed, value) {
		o.fault(key, "must be one of %s (got %q)", strings.Join(allowed, ", "), value)
		return ""
	}
	return value
}

func (o object) flag(key string) (value, given bool) {
	n := o.fields[key]
	if n == nil {
		return false, false
	}
	if n.Tag != "!!bool" || n.Decode(&value) != nil {
		o.fault(key, "must be true or false (got %q)", n.Value)
	}
	return value, true
}

// number is that of a key that must be there.
func (o object) number(key string) float64 {
	n := o.required(key)
	if n == nil {
		return 0
	}
	var value float64
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&value) != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		o.fault(key, "must be a number (got %q)", n.Value)
		return 0
	}
	return value
}

// list is the items of a list; a key without a value has none.
func (o object) list(key string, required bool) []*yaml.Node {
	n := o.fields[key]
	if required {
		n = o.required(key)
	}
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		o.fault(key, "must be a list")
		return nil
	}
	items := make([]*yaml.Node, len(n.Content))
	for i := range items {
		items[i] = resolved(n.Content[i])
	}
	return items
}

var shorthand = regexp.MustCompile(`^(\d+)([mhdwMQY])$`)

// duration reads the specification's duration-shorthand where a fixed length is wanted.
func (o object) duration(key string, required, zero bool) slo.Duration {
	text := o.text(key, required)
	if text == "" {
		return 0
	}
	m := shorthand.FindStringSubmatch(text)
	if m == nil {
		o.fault(key, "must be a whole number and one of m, h, d, w, M, Q, Y, without a space (got %q)", text)
		return 0
	}
	unit, fixed := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": slo.Day, "w": 7 * slo.Day}[m[2]]
	if !fixed {
		o.fault(key, "needs a fixed length in m, h, d or w: months, quarters and years differ (got %q)", text)
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 1_000_000 || n == 0 && !zero {
		o.fault(key, "must be positive and below a million (got %q)", text)
		return 0
	}
	return slo.Duration(time.Duration(n) * unit)
}

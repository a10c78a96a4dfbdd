// SPDX-License-Identifier: Apache-2.0

// Package fault holds what can be broken in the shop, what is broken right now, and what of it a watcher must and must not see.
package fault

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The faults of the shop.
const (
	Errors         = "errors"
	SlowDependency = "slow-dependency"
	RetryStorm     = "retry-storm"
	NPlusOne       = "n-plus-one"
	MemoryLeak     = "memory-leak"
	Canary         = "canary"
	UnboundedLabel = "unbounded-label"
	IdleService    = "idle-service"
)

var errUnknownFault = errors.New("unknown fault")

// kind is what a parameter's value is written as.
type kind int

const (
	number kind = iota
	duration
	text
)

// param is one parameter of a fault: its key, what it may be, and what it is when nobody says.
type param struct {
	key      string
	kind     kind
	fallback any // float64, time.Duration or string, by kind
	min, max float64
	integer  bool
	oneOf    []string // the allowed words of a text; nil allows any version-like word
}

// Spec describes one fault.
type Spec struct {
	Name    string
	Summary string
	params  []param
}

// services are those that answer requests, from the edge inwards.
var services = []string{"frontend", "cart", "checkout", "payment", "inventory"}

// Specs lists every fault in the order the documentation has them.
var Specs = []Spec{
	{Errors, "requests to one service fail", []param{
		{key: "service", kind: text, fallback: "checkout", oneOf: services},
		{key: "rate", fallback: 0.3, min: 0.001, max: 1},
	}},
	{SlowDependency, "the SQL queries of one service are slow", []param{
		{key: "service", kind: text, fallback: "inventory", oneOf: []string{"inventory", "cart"}},
		{key: "delay", kind: duration, fallback: 300 * time.Millisecond, min: float64(time.Millisecond), max: float64(1500 * time.Millisecond)},
	}},
	{RetryStorm, "cart refuses what exceeds its capacity and frontend retries at once", []param{
		{key: "attempts", fallback: 4.0, min: 2, max: 10, integer: true},
		{key: "capacity", fallback: 10.0, min: 0.5, max: 10_000},
	}},
	{NPlusOne, "inventory reads the stock of every product by a query of its own", []param{
		{key: "items", fallback: 20.0, min: 2, max: 40, integer: true},
	}},
	{MemoryLeak, "cart keeps some memory of every request, up to a limit", []param{
		{key: "max_mb", fallback: 64.0, min: 1, max: 512, integer: true},
		{key: "kb_per_request", fallback: 64.0, min: 1, max: 1024, integer: true},
	}},
	{Canary, "some users get a second instance of checkout, of a newer and worse version", []param{
		{key: "weight", fallback: 5.0, min: 0.1, max: 50},
		{key: "error_rate", fallback: 0.2, min: 0, max: 1},
		{key: "delay", kind: duration, fallback: 80 * time.Millisecond, min: 0, max: float64(1500 * time.Millisecond)},
		{key: "version", kind: text, fallback: "1.5.0"},
	}},
	{UnboundedLabel, "frontend puts the session's identifier on a metric", []param{
		{key: "max_values", fallback: 8_000.0, min: 10, max: 15_000, integer: true},
	}},
	{IdleService, "a sixth service, recommender, has resources set aside for it and gets no requests", []param{
		{key: "cpu", fallback: 2.0, min: 0.1, max: 64},
		{key: "memory_mb", fallback: 4096.0, min: 64, max: 262_144, integer: true},
	}},
}

// Find returns the description of a fault.
func Find(name string) (Spec, error) {
	for _, spec := range Specs {
		if spec.Name == name {
			return spec, nil
		}
	}
	names := make([]string, len(Specs))
	for i, spec := range Specs {
		names[i] = spec.Name
	}
	return Spec{}, fmt.Errorf("%w %q: there are %s", errUnknownFault, name, strings.Join(names, ", "))
}

// Params are the values in force for a fault, each parameter present.
type Params map[string]any

// Number returns a number parameter, 0 when there is none of that key.
func (p Params) Number(key string) float64 {
	v, _ := p[key].(float64)
	return v
}

// Duration returns a duration parameter, 0 when there is none of that key.
func (p Params) Duration(key string) time.Duration {
	v, _ := p[key].(time.Duration)
	return v
}

// Text returns a text parameter, empty when there is none of that key.
func (p Params) Text(key string) string {
	v, _ := p[key].(string)
	return v
}

// plain returns the parameters as JSON knows them: durations as text.
func (p Params) plain() map[string]any {
	out := make(map[string]any, len(p))
	for key, value := range p {
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		out[key] = value
	}
	return out
}

// String writes the parameters as key=value, sorted by key.
func (p Params) String() string {
	parts := make([]string, 0, len(p))
	for key, value := range p.plain() {
		parts = append(parts, fmt.Sprintf("%s=%v", key, value))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// Resolve checks raw values, as JSON gives them (numbers, strings), and fills in what is missing. The error names key and value.
func (s Spec) Resolve(raw map[string]any) (Params, error) {
	known := make(map[string]param, len(s.params))
	out := make(Params, len(s.params))
	for _, p := range s.params {
		known[p.key] = p
		out[p.key] = p.fallback
	}
	keys := make([]string, 0, len(raw))
	for key := range raw {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		p, ok := known[key]
		if !ok {
			return nil, fmt.Errorf("%s: unknown parameter %s (got %v): there are %s", s.Name, key, raw[key], strings.Join(s.keys(), ", "))
		}
		value, err := p.parse(raw[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %s %w (got %v)", s.Name, key, err, raw[key])
		}
		out[key] = value
	}
	return out, nil
}

func (s Spec) keys() []string {
	keys := make([]string, len(s.params))
	for i, p := range s.params {
		keys[i] = p.key
	}
	return keys
}

func (p param) parse(raw any) (any, error) {
	switch p.kind {
	case number:
		return p.parseNumber(raw)
	case duration:
		return p.parseDuration(raw)
	default:
		return p.parseText(raw)
	}
}

func (p param) parseNumber(raw any) (any, error) {
	var v float64
	switch raw := raw.(type) {
	case float64:
		v = raw
	case string:
		parsed, err := strconv.ParseFloat(raw, 64)
		if err != nil {
			return nil, errors.New("must be a number")
		}
		v = parsed
	default:
		return nil, errors.New("must be a number")
	}
	if math.IsNaN(v) || v < p.min || v > p.max {
		return nil, fmt.Errorf("must be from %v to %v", p.min, p.max)
	}
	if p.integer && v != math.Trunc(v) {
		return nil, errors.New("must be a whole number")
	}
	return v, nil
}

func (p param) parseDuration(raw any) (any, error) {
	word, ok := raw.(string)
	if !ok {
		return nil, errors.New(`must be a duration in quotes, such as "300ms"`)
	}
	v, err := time.ParseDuration(word)
	if err != nil {
		return nil, errors.New(`must be a duration such as "300ms"`)
	}
	if float64(v) < p.min || float64(v) > p.max {
		return nil, fmt.Errorf("must be from %s to %s", time.Duration(p.min), time.Duration(p.max))
	}
	return v, nil
}

func (p param) parseText(raw any) (any, error) {
	word, ok := raw.(string)
	if !ok {
		return nil, errors.New("must be a text")
	}
	if p.oneOf != nil {
		if !slices.Contains(p.oneOf, word) {
			return nil, fmt.Errorf("must be one of %s", strings.Join(p.oneOf, ", "))
		}
		return word, nil
	}
	if word == "" || len(word) > 32 || strings.ContainsFunc(word, oddInVersion) {
		return nil, errors.New("must be up to 32 letters, digits, dots, dashes and pluses")
	}
	return word, nil
}

func oddInVersion(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !letter && ('0' > r || r > '9') && !strings.ContainsRune(".-+", r)
}

// ParseFlag reads a fault as a command line writes it: `errors`, `errors=checkout:0.3` (parameters in order) or
// `errors=service=checkout,rate=0.3` (by key).
func ParseFlag(arg string) (Spec, Params, error) {
	name, values, _ := strings.Cut(arg, "=")
	spec, err := Find(name)
	if err != nil {
		return Spec{}, nil, err
	}
	raw := map[string]any{}
	switch {
	case values == "":
	case strings.Contains(values, "="):
		for pair := range strings.SplitSeq(values, ",") {
			key, value, _ := strings.Cut(pair, "=")
			raw[key] = value
		}
	default:
		parts := strings.Split(values, ":")
		if len(parts) > len(spec.params) {
			return Spec{}, nil, fmt.Errorf("%s: too many values in %q: there are %s", name, values, strings.Join(spec.keys(), ", "))
		}
		for i, value := range parts {
			raw[spec.params[i].key] = value
		}
	}
	params, err := spec.Resolve(raw)
	return spec, params, err
}

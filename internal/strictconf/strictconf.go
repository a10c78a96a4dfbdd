// SPDX-License-Identifier: Apache-2.0

// Package strictconf finds configuration keys that nothing reads. The Collector's decoder finds them itself, except in a struct with a
// squashed member that decodes itself, such as the settings of an HTTP server or client: there a misspelt key would be dropped in
// silence, and with it, say, the secret that signs requests.
package strictconf

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const tagName = "mapstructure"

var errUnknown = errors.New("has invalid keys")

// Check returns an error that names the keys of given which have no field in config, a struct or a pointer to one. It looks into nested
// structs with fields of their own; a member that hides its fields is left to its own decoder.
func Check(given map[string]any, config any) error {
	unknown := find(given, structOf(reflect.TypeOf(config)), "")
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("%w: %s", errUnknown, strings.Join(unknown, ", "))
}

func find(given map[string]any, t reflect.Type, prefix string) []string {
	fields := map[string]reflect.Type{}
	collect(t, fields)
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(given)) {
		field, ok := fields[key]
		if !ok {
			unknown = append(unknown, prefix+key)
			continue
		}
		nested, isMap := given[key].(map[string]any)
		if field = structOf(field); isMap && field.Kind() == reflect.Struct && hasTags(field) {
			unknown = append(unknown, find(nested, field, prefix+key+"::")...)
		}
	}
	return unknown
}

// collect gathers the keys of a struct, those of its squashed members among them.
func collect(t reflect.Type, into map[string]reflect.Type) {
	if t.Kind() != reflect.Struct {
		return
	}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get(tagName), ",")
		switch {
		case slices.Contains(strings.Split(options, ","), "squash"):
			collect(structOf(field.Type), into)
		case name != "" && name != "-":
			into[name] = field.Type
		}
	}
}

func structOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func hasTags(t reflect.Type) bool {
	fields := map[string]reflect.Type{}
	collect(t, fields)
	return len(fields) > 0
}

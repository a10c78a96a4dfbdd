// SPDX-License-Identifier: Apache-2.0

package focus

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/money"
)

var errTime = errors.New("not a date and time")

// layouts of times: FOCUS's own first, then what exports really write.
var layouts = []string{
	"2006-01-02T15:04:05Z", time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 MST", "2006-01-02",
}

func (s *Scanner) time(text string) (time.Time, error) {
	if t, ok := s.times[text]; ok {
		return t, nil
	}
	value := null(text)
	for _, layout := range layouts {
		t, err := time.Parse(layout, value)
		if err != nil || t.Year() < 1990 || t.Year() > 2200 {
			continue
		}
		t = t.UTC()
		if len(s.times) < maxMemo && len(text) <= maxMemoText {
			s.times[strings.Clone(text)] = t
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%w: %q", errTime, clip(value))
}

// tags reads a JSON object of tags; one without its braces, as some exports write it, is accepted. Anything else is nil.
func (s *Scanner) tags(text string) *tagSet {
	if text == "" {
		return nil
	}
	if tags, ok := s.tagCache[text]; ok {
		return tags
	}
	tags := parseTags(text)
	if len(s.tagCache) < maxMemo && len(text) <= maxMemoText {
		s.tagCache[strings.Clone(text)] = tags
	}
	return tags
}

func parseTags(text string) *tagSet {
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) != nil && json.Unmarshal([]byte("{"+text+"}"), &object) != nil {
		return nil
	}
	tags := &tagSet{raw: make(map[string]string, len(object)), byName: make(map[string]string, len(object))}
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(object))) {
		value, ok := object[key].(string)
		if !ok && object[key] != nil {
			b, err := json.Marshal(object[key])
			if err != nil {
				continue
			}
			value = string(b)
		}
		tags.raw[key] = value
		if value = strings.TrimSpace(value); value != "" {
			tags.byName[normalizeTag(key)] = value
		}
	}
	return tags
}

func (s *Scanner) isObject(c *Column, value string) bool {
	switch c.Name {
	case "Tags", "AllocatedTags":
		return s.tags(value) != nil && value[0] == '{'
	case "AllocatedMethodDetails":
		return isMethodDetails(value)
	}
	return json.Valid([]byte(value))
}

// isMethodDetails says whether a text is an Allocated Method Details Object (FOCUS 1.3): elements that each have a ratio.
func isMethodDetails(text string) bool {
	var object struct {
		Elements []struct {
			AllocatedRatio *float64
			UsageUnit      string
			UsageQuantity  *float64
		}
	}
	if json.Unmarshal([]byte(text), &object) != nil || len(object.Elements) == 0 {
		return false
	}
	for _, e := range object.Elements {
		if e.AllocatedRatio == nil || e.UsageQuantity != nil && e.UsageUnit == "" {
			return false
		}
	}
	return true
}

// null is "" for what bills write where there is no value.
func null(s string) string {
	if s == "NULL" || s == "null" || s == "Null" {
		return ""
	}
	return s
}

func isCurrency(s string) bool {
	if len(s) != 3 {
		return false
	}
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

// isDecimal is the syntax of a decimal number, without its value.
func isDecimal(s string) bool {
	digits, i := 0, 0
	if s[0] == '-' || s[0] == '+' {
		i++
	}
	for dot := false; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !dot:
			dot = true
		case (c == 'e' || c == 'E') && digits > 0:
			_, err := money.Parse(s)
			return err == nil
		default:
			return false
		}
	}
	return digits > 0
}

// isFocusTime is YYYY-MM-DDThh:mm:ssZ (FOCUS, attribute Date/Time Format), with or without a fraction.
func isFocusTime(s string) bool {
	const shape = "0000-00-00T00:00:00"
	if len(s) < len(shape)+1 || s[len(s)-1] != 'Z' {
		return false
	}
	for i := range len(shape) {
		digit := s[i] >= '0' && s[i] <= '9'
		if digit != (shape[i] == '0') || !digit && s[i] != shape[i] {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

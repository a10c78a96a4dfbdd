// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Day is the length of a rolling day. Rolling windows know no calendar.
const Day = 24 * time.Hour

var errDuration = errors.New("want a positive duration such as 30s, 5m, 6h, 3d, 4w")

// Duration is a window as people write it: Go's units and d (24 h) and w (7 d).
type Duration time.Duration

// ParseDuration reads "30d", "4w" or anything time.ParseDuration takes. Zero and negative durations are errors.
func ParseDuration(s string) (Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = Day
	case strings.HasSuffix(s, "w"):
		unit = 7 * Day
	}
	if unit == 0 {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return 0, fmt.Errorf("%w (got %q)", errDuration, s)
		}
		return Duration(d), nil
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	if err != nil || n <= 0 || int64(n) > int64(1<<62)/int64(unit) {
		return 0, fmt.Errorf("%w (got %q)", errDuration, s)
	}
	return Duration(time.Duration(n) * unit), nil
}

// UnmarshalText lets configuration decoders read a Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// MarshalText writes the form String gives.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String gives the shortest whole form: 3d, 6h, 5m, 30s; other values as time.Duration prints them.
func (d Duration) String() string {
	t := time.Duration(d)
	for _, u := range []struct {
		size   time.Duration
		suffix string
	}{{Day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if t >= u.size && t%u.size == 0 {
			return strconv.FormatInt(int64(t/u.size), 10) + u.suffix
		}
	}
	return t.String()
}

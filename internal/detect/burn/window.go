// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"math"
	"strconv"
	"time"
)

// windowUnits are the units of an objective's window.
var windowUnits = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// ParseWindow reads a window such as 30d, 4w or 1h30m: whole numbers, each with a unit s, m, h, d or w. It returns zero for anything
// else.
func ParseWindow(s string) time.Duration {
	var total time.Duration
	for s != "" {
		digits := 0
		for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
			digits++
		}
		if digits == 0 || digits == len(s) {
			return 0
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		unit, ok := windowUnits[s[digits]]
		if err != nil || !ok || n > int64(math.MaxInt64-total)/int64(unit) {
			return 0
		}
		total += time.Duration(n) * unit
		s = s[digits+1:]
	}
	return total
}

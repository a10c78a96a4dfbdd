// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"strconv"
	"testing"
)

// ScaleVariable says how large suites run: 1 is the size that the published
// tables are made at.
const ScaleVariable = "PITWALL_SCALE"

// Scale is the share of the full size to run at, in (0, 1]; without a setting,
// a hundredth.
func Scale() float64 {
	scale, err := strconv.ParseFloat(os.Getenv(ScaleVariable), 64)
	if err != nil || scale <= 0 || scale > 1 {
		return 0.01
	}
	return scale
}

// SkipUnlessProving skips what is part of the full size only.
func SkipUnlessProving(t testing.TB, why string) {
	t.Helper()
	if Scale() < 1 {
		t.Skipf("SKIPPED BELOW FULL SIZE (set %s=1): %s", ScaleVariable, why)
	}
}

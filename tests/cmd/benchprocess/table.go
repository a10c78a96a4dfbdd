// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// table prints the median of each pipeline with its range, and what share of
// the reference's throughput it keeps.
func table(samples map[string][]sample) string {
	var out strings.Builder
	out.WriteString("| pipeline | spans per CPU second | lowest to highest | of forward | peak memory |\n|---|---|---|---|---|\n")
	base := median(samples[reference], sample.perCPUSecond)
	for _, p := range pipelines {
		speeds := sorted(samples[p.name], sample.perCPUSecond)
		if len(speeds) == 0 {
			continue
		}
		middle := median(samples[p.name], sample.perCPUSecond)
		share := "-"
		if base > 0 {
			share = fmt.Sprintf("%.0f %%", 100*middle/base)
		}
		memory := median(samples[p.name], func(s sample) float64 { return float64(s.peak) })
		fmt.Fprintf(&out, "| %s | %s | %s to %s | %s | %.0f MB |\n",
			p.name, thousands(middle), thousands(speeds[0]), thousands(speeds[len(speeds)-1]), share, memory/(1<<20))
	}
	return out.String()
}

func sorted(samples []sample, of func(sample) float64) []float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values
}

// median is the middle value, or the mean of the two in the middle.
func median(samples []sample, of func(sample) float64) float64 {
	values := sorted(samples, of)
	if len(values) == 0 {
		return 0
	}
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// thousands prints a number with a comma between groups of three digits.
func thousands(value float64) string {
	digits := fmt.Sprintf("%.0f", value)
	var out strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

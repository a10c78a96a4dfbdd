// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pitwall-io/pitwall/internal/figures"
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
		share := percent(middle, base)
		memory := median(samples[p.name], func(s sample) float64 { return float64(s.peak) })
		fmt.Fprintf(&out, "| %s | %s | %s to %s | %s | %.0f MB |\n",
			p.name, thousands(middle), thousands(speeds[0]), thousands(speeds[len(speeds)-1]), share, memory/(1<<20))
	}
	return out.String()
}

// writeDown appends the medians to the figures that docs/evaluation.md is made
// of, where a run collects them.
func writeDown(samples map[string][]sample) error {
	path := os.Getenv(figures.Env)
	if path == "" {
		return nil
	}
	base := median(samples[reference], sample.perCPUSecond)
	for _, p := range pipelines {
		middle := median(samples[p.name], sample.perCPUSecond)
		err := figures.Append(path, figures.Figure{
			Table:   "Cost of the whole process",
			Row:     p.name,
			Reached: fmt.Sprintf("%s spans per CPU second, %s of forward", thousands(middle), percent(middle, base)),
			Wanted:  p.wanted,
			Command: "make bench-process",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*part/whole)
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

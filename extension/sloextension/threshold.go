// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"fmt"
	"math"
	"time"
)

// compare writes the comparison of an OpenSLO thresholdMetric, good while the value is `op` value, into an indicator's configuration.
// Spans are compared in whole nanoseconds: below a value is at most one less.
func compare(spec map[string]any, op string, value float64) error {
	unit, _ := spec["unit"].(string)
	delete(spec, "unit")
	if metrics, ok := spec["metrics"].(map[string]any); ok {
		metrics["threshold"] = value
		if _, gauge := metrics["gauge"]; gauge {
			metrics["op"] = op
		} else if op != "lte" {
			return fmt.Errorf("%w; observations of a histogram are good up to a value: op must be lte (got %q)", errComparison, op)
		}
		return nil
	}
	spans, present := spec["spans"]
	if !present {
		return errComparison
	}
	fields, ok := spans.(map[string]any)
	if !ok {
		fields = map[string]any{}
		spec["spans"] = fields
	}
	if fields["latency"] != nil {
		return fmt.Errorf("%w; latency is given too (got %v)", errComparison, fields["latency"])
	}
	scale, ok := map[string]time.Duration{"ns": 1, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute}[unit]
	if !ok {
		return fmt.Errorf("%w (got %q)", errUnit, unit)
	}
	latency := math.Round(value * float64(scale))
	switch op {
	case "lte":
	case "lt":
		latency--
	default:
		return fmt.Errorf("%w; a span is good up to a duration: op must be lt or lte (got %q)", errComparison, op)
	}
	if !(latency >= 1 && latency < math.MaxInt64/2) {
		return fmt.Errorf("%w; value must be a positive duration (got %v %s)", errComparison, value, unit)
	}
	fields["latency"] = time.Duration(latency).String()
	return nil
}

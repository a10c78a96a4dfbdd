// SPDX-License-Identifier: Apache-2.0

// Package costprocessor tags resources with their owner and cost centre, and prices the telemetry and the resources behind it.
package costprocessor

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// SPDX-License-Identifier: Apache-2.0

// Package focusreceiver reads cloud bills in the FinOps Open Cost and Usage Specification from a directory and emits them as metrics.
package focusreceiver

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

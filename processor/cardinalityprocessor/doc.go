// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package cardinalityprocessor bounds the number of metric series by folding, and keeps the totals exact.
package cardinalityprocessor

// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package optimizationextension serves optimization signals and the live state of objectives over HTTP, and keeps the board and the
// ledger on which other components publish.
package optimizationextension

// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package changereceiver accepts what deployment tools and flag services tell about changes over HTTP and emits it as log records.
package changereceiver

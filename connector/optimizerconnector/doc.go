// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package optimizerconnector turns telemetry and alert transitions into optimization signals.
package optimizerconnector

// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package tailsamplingprocessor keeps whole traces by policy, once their spans are in. It takes the configuration of contrib's processor
// of the same type.
package tailsamplingprocessor

// SPDX-License-Identifier: Apache-2.0

// Package loop is the frame of the optimize loop: it takes the candidates of all detectors and makes of them the signals that are said.
// It is pure: event time comes in as an argument, and equal inputs in equal order give equal bytes.
package loop

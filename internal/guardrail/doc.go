// SPDX-License-Identifier: Apache-2.0

// Package guardrail says what forbids an automaton to act on a signal. Each rule is one small function in a table; all of them are
// evaluated every time, so that a signal names everything that stands in its way and what was looked at.
//
// The package is pure: what a rule needs to know of the world comes in as Facts.
package guardrail

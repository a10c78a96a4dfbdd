// SPDX-License-Identifier: Apache-2.0

// Package policy decides by expressions of the Common Expression Language (https://cel.dev) over a signal's envelope whether an
// automaton may act on it, may once a person approved, or may not.
package policy

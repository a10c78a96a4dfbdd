// SPDX-License-Identifier: Apache-2.0

// Package policy decides by expressions of the Common Expression Language (https://cel.dev) over a signal's envelope whether an
// automaton may act on it, may once a person approved, or may not.
//
// The build tag pitwall_nopolicies leaves the language out; then there is no policy, and a configuration that has one is refused.
package policy

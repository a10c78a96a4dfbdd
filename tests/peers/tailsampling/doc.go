// SPDX-License-Identifier: Apache-2.0

// Package tailsampling compares this project's tail_sampling with contrib's: the same decisions on the same traces, and the cost of
// coming to them. It is a module of its own, so that contrib's processor never moves the versions the distribution is built from.
package tailsampling

// SPDX-License-Identifier: Apache-2.0

// Package plan decides which of the candidates that hold at one moment are worth saying, and in which order: it ranks them, takes those
// that describe one cause together, and lets only one change be in flight for each target.
package plan

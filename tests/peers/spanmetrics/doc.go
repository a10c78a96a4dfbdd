// SPDX-License-Identifier: Apache-2.0

// Package spanmetrics compares the sli processor with contrib's spanmetrics connector, which counts spans too. It is a module of its own, so
// that the connector never moves the distribution's pins.
package spanmetrics

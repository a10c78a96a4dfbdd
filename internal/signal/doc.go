// SPDX-License-Identifier: Apache-2.0

// Package signal defines the optimization signal: its envelope, its identity, the states it moves through, what evidence may leave,
// how large it may be, the hash chain that makes a record of it tamper-evident, and the board on which components publish it.
//
// The package is pure: it reads no clock, opens nothing and knows neither pdata nor the Collector. Its adapter to log records is
// the package signallog.
package signal

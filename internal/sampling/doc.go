// SPDX-License-Identifier: Apache-2.0

// Package sampling decides which traces are worth keeping. It holds waiting spans in compact, compressed segments under a bound in
// bytes, evaluates policies over facts gathered while spans arrive, and keeps what it decided consistent with the probability
// sampling of the OpenTelemetry specification.
//
// It reads OTLP protobuf bytes, never pdata; it has no clock and starts no goroutine: time comes in as an argument, and whoever owns
// an Engine serialises the calls to it.
package sampling

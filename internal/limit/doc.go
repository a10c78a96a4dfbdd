// SPDX-License-Identifier: Apache-2.0

// Package limit bounds the number of metric series without changing what they add up to.
//
// A Limiter decides for every incoming data point whether its series is kept as it is or merged into a coarser one: first by
// folding single attributes to the overflow value, then, as the last resort, by folding the whole series. Merged series are
// re-aggregated over time, across batches, for every metric type and temporality, so that the total over any attribute that was
// not folded stays exact.
//
// The package is pure: it knows neither the Collector nor its data, has no clock (time comes in with every call) and starts no
// goroutine. A Limiter is not safe for concurrent use; its caller holds a lock around each batch.
package limit

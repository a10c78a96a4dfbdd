// SPDX-License-Identifier: Apache-2.0

// Package cardinality compares the cardinality processor with what contrib offers to take an attribute off a metric: the operation
// aggregate_labels of its metricstransform processor. It is a module of its own, so that contrib does not move the distribution's pins.
package cardinality

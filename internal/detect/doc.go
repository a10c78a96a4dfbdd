// SPDX-License-Identifier: Apache-2.0

// Package detect says what a detector is. A detector lives in a folder of its own below this one: its maths, its tests against an
// oracle or real data, and a page with source, picture, cost and limits. It knows neither pdata nor a clock. What it reads of
// telemetry, its adapter in the optimizer connector takes out and hands over as numbers and times; adding one touches one line there.
package detect

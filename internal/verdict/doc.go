// SPDX-License-Identifier: Apache-2.0

// Package verdict compares two versions of a service that run at the same time and says whether the newer one may go on. Its answers
// hold at every look: they may be read after every request without raising the rate of false alarms, because they rest on
// e-processes and not on p-values (Ville 1939; Lindon and Malek 2022, "Anytime-Valid Inference for Multinomial Count Data").
package verdict

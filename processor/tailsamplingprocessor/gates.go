// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"errors"

	"go.opentelemetry.io/collector/featuregate"
)

// The feature gates of contrib's processor exist here under the same names, since an unknown gate ends start-up.
var (
	gateCountBytes = gate("processor.tailsamplingprocessor.metricstatcountbytessampled", "v0.152.0",
		"Counts, for each policy, the bytes of the traces it decided on.")
	gateCountSpans = gate("processor.tailsamplingprocessor.metricstatcountspanssampled", "v0.95.0",
		"Counts, for each policy, the spans of the traces it decided on.")
	gateRecordPolicy = gate("processor.tailsamplingprocessor.recordpolicy", "v0.120.0",
		"Writes the policy that kept a trace into the attributes tailsampling.policy, tailsampling.composite_policy and tailsampling.cached_decision of its scopes.")
	_ = gate("processor.tailsamplingprocessor.tailstorageextension", "v0.150.0",
		"Accepted for compatibility; tail_storage is refused whatever its state.")
	gateTraceState = gate("processor.tailsamplingprocessor.usetracestate", "v0.154.0",
		"Writes the threshold of every kept span into its tracestate, also where it says that nothing was left out.")
)

// gate registers a feature gate, or finds the one that contrib's processor registered in the same process.
func gate(id, since, description string) *featuregate.Gate {
	registry := featuregate.GlobalRegistry()
	g, err := registry.Register(id, featuregate.StageAlpha,
		featuregate.WithRegisterDescription(description), featuregate.WithRegisterFromVersion(since))
	if errors.Is(err, featuregate.ErrAlreadyRegistered) {
		registry.VisitAll(func(known *featuregate.Gate) {
			if known.ID() == id {
				g = known
			}
		})
	}
	return g
}

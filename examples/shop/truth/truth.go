// SPDX-License-Identifier: Apache-2.0

// Package truth holds, for every fault of the shop, what is really wrong: one JSON file a fault, readable without Go.
package truth

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

//go:embed *.json
var files embed.FS

// Truth is the content of one file.
type Truth struct {
	Fault   string `json:"fault"`
	Summary string `json:"summary"`
	// Kind is the kind of the signal that is right for the fault.
	Kind string `json:"kind"`
	// Service is the service at fault; ServiceParam names the parameter of the fault that says otherwise.
	Service      string `json:"service"`
	ServiceParam string `json:"service_param,omitempty"`
	// VersionParam names the parameter that holds the version at fault.
	VersionParam string `json:"version_param,omitempty"`
	// Attributes are what else a right signal names: a metric, an attribute, a peer.
	Attributes map[string]string `json:"attributes,omitempty"`
	// Telemetry says what the fault looks like.
	Telemetry []string `json:"telemetry"`
	// Alternatives are other signals that would be true as well.
	Alternatives []Claim `json:"alternatives"`
	// MustNot are signals that would be false.
	MustNot []Claim `json:"must_not"`
}

// Claim is a signal about some services; no services means any.
type Claim struct {
	Kind     string   `json:"kind"`
	Services []string `json:"services,omitempty"`
	Why      string   `json:"why"`
}

// Of returns the truth about a fault.
func Of(fault string) (Truth, error) {
	raw, err := files.ReadFile(fault + ".json")
	if err != nil {
		return Truth{}, fmt.Errorf("no truth about fault %q: %w", fault, err)
	}
	var t Truth
	if err := json.Unmarshal(raw, &t); err != nil {
		return Truth{}, fmt.Errorf("truth about fault %q: %w", fault, err)
	}
	return t, nil
}

// Faults lists the faults there is a truth about.
func Faults() []string {
	entries, _ := files.ReadDir(".") // an embedded directory always reads
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(path.Base(entry.Name()), ".json"))
	}
	return names
}

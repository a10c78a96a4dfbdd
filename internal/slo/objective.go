// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxWindow is the longest window an objective may have.
const maxWindow = 366 * Day

// serviceName is the attribute that names a service.
const serviceName = "service.name"

// Objective is an indicator with a target and a window.
type Objective struct {
	Name string
	// Description says for humans what is promised.
	Description string
	Service     string
	Target      float64
	Window      Duration
	Owner       string
	Runbook     string
	GroupBy     []string
	MaxGroups   int
	Indicator   Indicator
}

// DefaultMaxGroups bounds the groups of one objective; what does not fit shares one overflow group.
const DefaultMaxGroups = 1000

var errObjective = errors.New("objective")

// Validate names the first value that makes no sense.
func (o Objective) Validate() error {
	switch {
	case o.Name == "":
		return fmt.Errorf("%w: name must not be empty", errObjective)
	case !(o.Target >= 0 && o.Target < 1):
		return fmt.Errorf("%w %s: target must be in [0, 1) (got %v)", errObjective, o.Name, o.Target)
	case o.Window < Duration(time.Hour) || o.Window > Duration(maxWindow):
		return fmt.Errorf("%w %s: window must be between 1h and 366d (got %s)", errObjective, o.Name, o.Window)
	case o.MaxGroups < 1 || o.MaxGroups > 100_000:
		return fmt.Errorf("%w %s: max_groups must be between 1 and 100000 (got %d)", errObjective, o.Name, o.MaxGroups)
	case len(o.GroupBy) > 8:
		return fmt.Errorf("%w %s: group_by takes at most 8 attributes (got %d)", errObjective, o.Name, len(o.GroupBy))
	}
	seen := map[string]bool{}
	for _, attribute := range o.GroupBy {
		if attribute == "" || seen[attribute] {
			return fmt.Errorf("%w %s: group_by must name distinct attributes (got %q)", errObjective, o.Name, o.GroupBy)
		}
		seen[attribute] = true
	}
	return o.Indicator.validate(o.Name)
}

// Digest identifies the state that belongs to an objective: it changes when the name, the service, the indicator, the grouping or
// the window changes, and stays when target, owner or runbook do.
func (o Objective) Digest() string {
	text, err := json.Marshal(struct {
		Name, Service string
		Window        Duration
		GroupBy       []string
		Indicator     Indicator
	}{o.Name, o.Service, o.Window, o.GroupBy, o.Indicator})
	if err != nil {
		return o.Name // a struct of strings and numbers always encodes
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// SPDX-License-Identifier: Apache-2.0

package slo

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// maxName bounds the name of an objective, in bytes: it stands on every metric and in every alert.
const maxName = 300

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
	// Window is the rolling window of the error budget. With a Calendar it is the nominal length of a period, whatever it was.
	Window Duration
	// Calendar makes the budget one of calendar periods.
	Calendar *Calendar
	// Method is what the budget is counted in; MethodOccurrences when empty.
	Method Method
	// TimeSliceWindow is the length of a time slice, and TimeSliceTarget the share of good events that makes one good (MethodTimeslices).
	TimeSliceWindow Duration
	TimeSliceTarget float64
	Owner           string
	Runbook         string
	GroupBy         []string
	MaxGroups       int
	Indicator       Indicator
	// Composite makes an objective of others, in place of an Indicator. Its Target may be 0: then what it allows is the sum of what they do.
	Composite []Component
	// Profile holds the alert rules of this objective; nil for the book's.
	Profile *Profile
	// NotComputable says why nothing here can measure the indicator. Such an objective is listed, and has no data.
	NotComputable string
}

// DefaultMaxGroups bounds the groups of one objective; what does not fit shares one overflow group.
const DefaultMaxGroups = 1000

var errObjective = errors.New("objective")

// Counts says whether events of the telemetry count in the objective: not in a composite, nor in one that cannot be computed.
func (o Objective) Counts() bool {
	return o.Name != "" && len(o.Composite) == 0 && o.NotComputable == ""
}

func (o Objective) method() Method { return cmp.Or(o.Method, MethodOccurrences) }

// Validate names the first value that makes no sense.
func (o Objective) Validate() error {
	switch {
	case o.Name == "":
		return fmt.Errorf("%w: name must not be empty", errObjective)
	case len(o.Name) > maxName || !utf8.ValidString(o.Name):
		return fmt.Errorf("%w: name must be UTF-8 of up to %d bytes (got %d: %.64q)", errObjective, maxName, len(o.Name), o.Name)
	case !(o.Target >= 0 && o.Target < 1):
		return fmt.Errorf("%w %s: target must be in [0, 1) (got %v)", errObjective, o.Name, o.Target)
	case o.Calendar == nil && (o.Window < Duration(time.Hour) || o.Window > Duration(maxWindow)):
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
	if o.Calendar != nil {
		if err := o.Calendar.Validate(); err != nil {
			return fmt.Errorf("%w %s: %w", errObjective, o.Name, err)
		}
	}
	if err := o.validateMethod(); err != nil {
		return err
	}
	switch {
	case len(o.Composite) > 0:
		return o.validateComposite()
	case o.NotComputable != "":
		return nil
	}
	return o.Indicator.validate(o.Name)
}

func (o Objective) validateMethod() error {
	slice := time.Duration(o.TimeSliceWindow)
	switch o.method() {
	case MethodOccurrences:
		if slice != 0 || o.TimeSliceTarget != 0 {
			return fmt.Errorf("%w %s: time_slice_window and time_slice_target need the method timeslices or ratio_timeslices (got %s and %v)",
				errObjective, o.Name, o.TimeSliceWindow, o.TimeSliceTarget)
		}
		return nil
	case MethodTimeslices:
		if !(o.TimeSliceTarget > 0 && o.TimeSliceTarget <= 1) {
			return fmt.Errorf("%w %s: time_slice_target must be in (0, 1] (got %v)", errObjective, o.Name, o.TimeSliceTarget)
		}
	case MethodRatioTimeslices:
		if o.TimeSliceTarget != 0 {
			return fmt.Errorf("%w %s: time_slice_target has no meaning with the method ratio_timeslices (got %v)", errObjective, o.Name, o.TimeSliceTarget)
		}
	default:
		return fmt.Errorf("%w %s: method must be occurrences, timeslices or ratio_timeslices (got %q)", errObjective, o.Name, o.Method)
	}
	if slice < minTimeSlice || slice > maxTimeSlice || slice%minTimeSlice != 0 {
		return fmt.Errorf("%w %s: time_slice_window must be whole minutes between %s and %s (got %s)",
			errObjective, o.Name, Duration(minTimeSlice), Duration(maxTimeSlice), o.TimeSliceWindow)
	}
	length := time.Duration(o.Window)
	if o.Calendar != nil {
		length = o.Calendar.Nominal()
	}
	if length < minTimeSlices*slice {
		return fmt.Errorf("%w %s: time_slice_window must fit into the window at least twice (got %s in %s)", errObjective, o.Name, o.TimeSliceWindow, Duration(length))
	}
	return nil
}

func (o Objective) validateComposite() error {
	switch {
	case o.Indicator.Kind != "":
		return fmt.Errorf("%w %s: composite takes the place of an indicator (got %q)", errObjective, o.Name, o.Indicator.Kind)
	case len(o.Composite) < 2 || len(o.Composite) > maxParts:
		return fmt.Errorf("%w %s: composite takes 2 to %d objectives (got %d)", errObjective, o.Name, maxParts, len(o.Composite))
	}
	seen := map[string]bool{o.Name: true}
	for _, c := range o.Composite {
		if c.Objective == "" || seen[c.Objective] {
			return fmt.Errorf("%w %s: composite must name distinct other objectives (got %q)", errObjective, o.Name, c.Objective)
		}
		seen[c.Objective] = true
		if !(c.Weight > 0 && c.Weight <= math.MaxUint16) {
			return fmt.Errorf("%w %s: composite: the weight of %s must be in (0, %d] (got %v)", errObjective, o.Name, c.Objective, math.MaxUint16, c.Weight)
		}
	}
	return nil
}

// Digest identifies the state that belongs to an objective: it changes when the name, the service, the indicator, the grouping, the
// window or the way of counting changes, and stays when target, owner, runbook or alert rules do.
func (o Objective) Digest() string {
	text, err := json.Marshal(struct {
		Name, Service   string
		Window          Duration
		Calendar        *Calendar
		Method          Method
		TimeSliceWindow Duration
		TimeSliceTarget float64
		GroupBy         []string
		Indicator       Indicator
		Composite       []Component
	}{
		o.Name, o.Service, o.Window, o.Calendar, o.method(), o.TimeSliceWindow, o.TimeSliceTarget, o.GroupBy, o.Indicator, o.Composite,
	})
	if err != nil {
		return o.Name // a struct of strings and numbers always encodes
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

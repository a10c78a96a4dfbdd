// SPDX-License-Identifier: Apache-2.0

// Package conflict notices when two actors change the same thing against each other: two controllers, or a controller and a person.
package conflict

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Detector.
type Settings struct {
	// MaxFields bounds the things whose last changes are remembered; the one changed longest ago goes first.
	MaxFields int
	// Cooldown is how long after one actor's change another actor's different one is a conflict.
	Cooldown time.Duration
}

// act is one actor's newest change of one field.
type act struct {
	Actor, Value, ChangeID string
	At                     time.Time
}

// field is one thing that can be changed, with the newest change of each actor.
type field struct {
	Kind   detect.ChangeKind
	Name   string
	Target signal.Target
	Acts   []act
	// Since is when the conflict began; zero while there is none.
	Since time.Time
	// Said is the number of changes that were told of it; Told how many of them were said.
	Changes, Told int
}

// maxActors bounds the actors remembered of one field.
const maxActors = 8

// Detector remembers the last changes of each field.
type Detector struct {
	settings Settings

	mu     sync.Mutex
	fields map[string]*field
}

// New returns a detector that knows of no change.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, fields: map[string]*field{}}
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "conflict" }

// Fill implements detect.Detector.
func (d *Detector) Fill() detect.Fill {
	d.mu.Lock()
	defer d.mu.Unlock()
	return detect.Fill{Used: len(d.fields), Limit: d.settings.MaxFields}
}

// ObserveChange implements detect.ChangeObserver. Changes seen in telemetry have no actor, and plans change nothing.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.Tool == "" || c.Tool == detect.ToolTelemetry || c.State != "succeeded" && c.State != "started" {
		return
	}
	name, value := fieldOf(c)
	if value == "" {
		return
	}
	target := signal.Target{
		Service: signal.CleanText(c.Service, signal.MaxText), Namespace: signal.CleanText(c.Namespace, signal.MaxText),
		Environment: signal.CleanText(c.Environment, signal.MaxText),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := keyOf(c.Kind, name, target)
	f := d.fields[key]
	if f == nil {
		if len(d.fields) >= d.settings.MaxFields {
			d.forgetLocked()
		}
		f = &field{Kind: c.Kind, Name: signal.CleanText(name, signal.MaxText), Target: target}
		d.fields[key] = f
	}
	f.observe(act{Actor: c.Tool, Value: value, ChangeID: c.ID, At: c.Time}, d.settings.Cooldown)
}

// fieldOf returns what a change sets, and to what.
func fieldOf(c detect.Change) (name, value string) {
	switch c.Kind {
	case detect.Deployment:
		return "service.version", c.Version
	case detect.FeatureFlag:
		return "feature_flag." + c.Flag, c.Variant
	default:
		return "", ""
	}
}

func keyOf(kind detect.ChangeKind, name string, t signal.Target) string {
	h := sha256.New()
	for _, part := range []string{string(kind), name, t.Service, t.Namespace, t.Environment} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// observe notes an actor's change. It is a conflict if it takes back what another set a short while ago.
func (f *field) observe(a act, cooldown time.Duration) {
	conflict := slices.ContainsFunc(f.Acts, func(b act) bool {
		return b.Actor != a.Actor && b.Value != a.Value && a.At.Sub(b.At).Abs() <= cooldown
	})
	f.Acts = slices.DeleteFunc(f.Acts, func(b act) bool { return b.Actor == a.Actor && !b.At.After(a.At) })
	f.Acts = append(f.Acts, a)
	slices.SortFunc(f.Acts, func(x, y act) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Actor, y.Actor)) })
	if over := len(f.Acts) - maxActors; over > 0 {
		f.Acts = slices.Delete(f.Acts, 0, over)
	}
	if conflict {
		if f.Since.IsZero() {
			f.Since = a.At
		}
		f.Changes++
	}
}

func (f *field) last() time.Time { return f.Acts[len(f.Acts)-1].At }

// forgetLocked drops the field changed longest ago of those without a conflict, or of all.
func (d *Detector) forgetLocked() {
	oldest := ""
	worse := func(a, b *field) bool {
		if a.Since.IsZero() != b.Since.IsZero() {
			return a.Since.IsZero()
		}
		return a.last().Before(b.last())
	}
	for _, key := range slices.Sorted(maps.Keys(d.fields)) {
		if oldest == "" || worse(d.fields[key], d.fields[oldest]) {
			oldest = key
		}
	}
	delete(d.fields, oldest)
}

// Advance implements detect.Detector.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.mu.Lock()
	defer d.mu.Unlock()
	var said []detect.Candidate
	for _, key := range slices.Sorted(maps.Keys(d.fields)) {
		f := d.fields[key]
		over := now.Sub(f.last()) > d.settings.Cooldown
		switch {
		case f.Since.IsZero() && over:
			delete(d.fields, key)
		case f.Since.IsZero():
		case over:
			said = append(said, d.compose(f, now, signal.StateResolved))
			delete(d.fields, key)
		case f.Changes > f.Told:
			f.Told = f.Changes
			said = append(said, d.compose(f, now, signal.StateFiring))
		}
	}
	return said
}

func (d *Detector) compose(f *field, now time.Time, state signal.State) detect.Candidate {
	var actors, causes []string
	for _, a := range f.Acts {
		if !slices.Contains(actors, a.Actor) {
			actors = append(actors, a.Actor)
		}
		if id := signal.CleanText(a.ChangeID, signal.MaxText); id != "" {
			causes = append(causes, id)
		}
	}
	slices.Sort(actors)
	if now.Before(f.Since) {
		now = f.Since
	}
	e := signal.Envelope{
		ID:   signal.NewID(signal.KindControllerConflict, f.Target, map[string]string{"field": f.Name}, f.Since),
		Kind: signal.KindControllerConflict, Version: signal.Version, State: state, Severity: signal.SeverityTicket, Target: f.Target,
		Summary: signal.CleanText(fmt.Sprintf("%s of %s was changed %d times by %s against each other within %s.",
			f.Name, cmp.Or(f.Target.Service, "all services"), f.Changes+1, strings.Join(actors, " and "), d.settings.Cooldown), signal.MaxSummary),
		Action: signal.Action{
			Verb: "freeze_changes", Reversible: true, Risk: signal.RiskLow,
			Params: map[string]string{"field": f.Name, "actors": signal.CleanText(strings.Join(actors, ","), signal.MaxText)},
		},
		Confidence: signal.Confidence{Value: 1, Method: "observed"},
		Evidence: signal.Evidence{
			Inputs:     []string{string(f.Kind)},
			Statistics: map[string]float64{"changes": float64(f.Changes + 1), "actors": float64(len(actors)), "cooldown_seconds": d.settings.Cooldown.Seconds()},
		},
		ValidFrom: f.Since, UpdatedAt: now, ExpiresAt: now.Add(2 * d.settings.Cooldown), CausedBy: causes,
	}
	if state != signal.StateFiring {
		e.Action, e.ExpiresAt = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}, now
		e.Summary = signal.CleanText(f.Name+" of "+cmp.Or(f.Target.Service, "all services")+" is no longer changed by several actors.", signal.MaxSummary)
	}
	return detect.Candidate{Envelope: e, Reliability: true, Effort: detect.EffortLow}
}

const snapshotVersion = 1

// Snapshot implements detect.Detector.
func (d *Detector) Snapshot() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return detect.SealJSON(snapshotVersion, d.fields)
}

// Restore implements detect.Detector.
func (d *Detector) Restore(data []byte) error {
	fields, err := detect.OpenJSON[map[string]*field](snapshotVersion, data)
	if err != nil {
		return err
	}
	maps.DeleteFunc(fields, func(_ string, f *field) bool { return f == nil || len(f.Acts) == 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if fields == nil {
		fields = map[string]*field{}
	}
	d.fields = fields
	return nil
}

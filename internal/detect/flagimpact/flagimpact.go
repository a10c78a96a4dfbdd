// SPDX-License-Identifier: Apache-2.0

// Package flagimpact says of a variant of a feature flag whether the requests that get it fare worse than those that get another.
package flagimpact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// Settings of a Detector; the zero value stands for the defaults.
type Settings struct {
	track.Settings
	// TTL is how long a signal is valid. Default 10m.
	TTL time.Duration
	// MaxPending bounds the evaluations and requests that wait for their other half. Default 16384.
	MaxPending int
	// MaxServices bounds the services that evaluate flags. Default 1000.
	MaxServices int
}

const (
	snapshotVersion = 1
	maxChanges      = 1_000
	// maxFlags bounds the flags that one request may evaluate.
	maxFlags = 8
)

// Detector is a detect.Detector. All of it may be called from many goroutines.
type Detector struct {
	ttl                     time.Duration
	maxPending, maxServices int

	mu      sync.Mutex
	tracker *track.Tracker
	voice   track.Voice
	changes []detect.Change
	// services are those that evaluate flags; the map keeps their names, so that a pending half keeps nothing of the telemetry.
	services map[string]string
	// pending are the halves that wait, order the keys in the order in which they came.
	pending map[half]waiting
	order   []half
	oldest  int
	// turnedAway are the evaluations of services for which there was no room.
	turnedAway uint64
}

var (
	_ detect.Detector       = (*Detector)(nil)
	_ detect.ChangeObserver = (*Detector)(nil)
	_ detect.ChangeSource   = (*Detector)(nil)
)

// half is what an evaluation and the request it belongs to have in common.
type half struct {
	trace   [16]byte
	service string
}

// waiting is one of the two: the arms that a request was given, or the request.
type waiting struct {
	arms  [maxFlags]*track.Arm
	count int
	Request
}

// Request is one request that a service served.
type Request struct {
	Trace  [16]byte
	End    int64 // event time in nanoseconds since 1970
	Took   time.Duration
	Failed bool
}

// New returns a detector that has seen nothing.
func New(s Settings) *Detector {
	if s.TTL == 0 {
		s.TTL = 10 * time.Minute
	}
	if s.MaxPending == 0 {
		s.MaxPending = 16_384
	}
	if s.MaxServices == 0 {
		s.MaxServices = 1_000
	}
	return &Detector{
		ttl: s.TTL, maxPending: s.MaxPending, maxServices: s.MaxServices,
		tracker: track.New(s.Settings), voice: track.Voice{TTL: s.TTL}, services: map[string]string{}, pending: map[half]waiting{},
	}
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "flagimpact" }

// controls are the usual names of the variant that changes nothing.
var controls = map[string]bool{"control": true, "off": true, "false": true, "disabled": true, "default": true}

// Lock lets the caller observe, until Unlock. Nothing is to be called out to meanwhile.
func (d *Detector) Lock() { d.mu.Lock() }

// Unlock ends what Lock began.
func (d *Detector) Unlock() { d.mu.Unlock() }

// TakeLost returns how much was left out since the last call, in the order of track.Losses.
func (d *Detector) TakeLost() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := d.tracker.TakeLost()
	lost[track.LossTargets] += d.turnedAway
	d.turnedAway = 0
	return lost[:]
}

// Evaluate takes one evaluation of a flag by a service. The service's request of the same trace is what it is judged by. The caller holds
// the lock.
func (d *Detector) Evaluate(key track.Key, variant string, trace [16]byte, at int64) {
	arm := d.arm(key, variant, at)
	if arm == nil || trace == [16]byte{} {
		return
	}
	service, known := d.services[key.Service]
	if !known {
		if len(d.services) >= d.maxServices {
			d.turnedAway++
			return
		}
		service = strings.Clone(key.Service)
		d.services[service] = service
	}
	id := half{trace, service}
	w := d.pending[id]
	if w.count == maxFlags || slices.Contains(w.arms[:w.count], arm) {
		return // a request counts once, however often it asks
	}
	w.arms[w.count] = arm
	w.count++
	d.wait(id, w)
	if w.End != 0 {
		arm.Observe(w.End, w.Took, w.Failed, trace)
	}
}

// Serve takes one request, which may have evaluated flags. The caller holds the lock.
func (d *Detector) Serve(service string, r Request) {
	service, known := d.services[service]
	if !known {
		return
	}
	id := half{r.Trace, service}
	w := d.pending[id]
	if w.End != 0 {
		return // a second request of the service in this trace
	}
	for _, arm := range w.arms[:w.count] {
		arm.Observe(r.End, r.Took, r.Failed, r.Trace)
	}
	w.Request = r
	d.wait(id, w)
}

func (d *Detector) arm(key track.Key, variant string, at int64) *track.Arm {
	if arm := d.tracker.Find(key, variant); arm != nil {
		return arm
	}
	arm := d.tracker.Arm(key, variant, at)
	if arm != nil && !controls[variant] {
		d.tracker.Announce(key, variant, 0)
	}
	return arm
}

// wait keeps a half; when there is no room, the one that waited longest goes.
func (d *Detector) wait(id half, w waiting) {
	if _, known := d.pending[id]; !known {
		if len(d.order) < d.maxPending {
			d.order = append(d.order, id)
		} else {
			delete(d.pending, d.order[d.oldest])
			d.order[d.oldest] = id
			d.oldest = (d.oldest + 1) % d.maxPending
		}
	}
	d.pending[id] = w
}

// ObserveChange remembers flips of flags as causes.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.Kind != detect.FeatureFlag {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.changes) >= maxChanges {
		d.changes = d.changes[maxChanges/10:]
	}
	d.changes = append(d.changes, c)
}

// TakeChanges returns a flip for each variant that appeared beside or after another.
func (d *Detector) TakeChanges() []detect.Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	newcomers := d.tracker.TakeNewcomers()
	seen := make([]detect.Change, 0, len(newcomers))
	for _, n := range newcomers {
		c := detect.Change{
			Kind: detect.FeatureFlag, Time: n.At, Action: "flip", State: "succeeded", Tool: detect.ToolTelemetry,
			Service: n.Key.Service, Namespace: n.Key.Namespace, Environment: n.Key.Environment, Flag: n.Key.Subject, Variant: n.Name,
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %d", c.Service, c.Namespace, c.Environment, c.Flag, c.Variant, n.At.UnixNano()))
		c.ID = "telemetry-" + hex.EncodeToString(sum[:8])
		seen = append(seen, c)
	}
	return seen
}

// Advance implements detect.Detector. Nothing is said of variants before something is shown: flags may be split for ever.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []detect.Candidate
	for _, s := range d.tracker.Advance(now) {
		if s.Verdict.Outcome != verdict.Inconclusive && d.voice.Says(&s, now) {
			out = append(out, d.compose(&s, now))
		}
	}
	return out
}

func (d *Detector) compose(s *track.State, now time.Time) detect.Candidate {
	flag, variant, beside := signal.CleanText(s.Key.Subject, signal.MaxText), signal.CleanText(s.Canary, signal.MaxText), signal.CleanText(s.Baseline, signal.MaxText)
	target := signal.Target{
		Service:   signal.CleanText(s.Key.Service, signal.MaxText),
		Namespace: signal.CleanText(s.Key.Namespace, signal.MaxText), Environment: signal.CleanText(s.Key.Environment, signal.MaxText),
		Attributes: map[string]string{"feature_flag.key": flag, "feature_flag.result.variant": variant},
	}
	e := s.Envelope(signal.KindFlagImpact, target, map[string]string{"flag": s.Key.Subject, "variant": s.Canary, "beside": s.Baseline}, now, d.ttl)
	e.Evidence.Inputs = []string{"spans", "feature_flag.evaluation"}
	e.Severity = signal.SeverityInfo
	e.Action = signal.Action{Verb: "keep", Reversible: true, Risk: signal.RiskNone}
	if s.Verdict.Outcome == verdict.Fail {
		e.Severity = signal.SeverityTicket
		e.Action = signal.Action{Verb: "disable_flag", Alternatives: []string{"hold"}, Reversible: true, Risk: signal.RiskLow}
	}
	if s.Ended {
		e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	}
	e.Action.Params = map[string]string{"flag": flag, "variant": variant, "beside": beside}
	e.CausedBy = track.Causes(d.changes, s.Key, func(c *detect.Change) bool { return c.Flag == s.Key.Subject })
	cause := ""
	if len(e.CausedBy) > 0 {
		cause = e.CausedBy[0]
	}
	e.Summary = signal.CleanText(fmt.Sprintf("flag %s of %s, variant %s beside %s: %s; %s.", flag, target.Service, variant, beside,
		s.Verdict.Outcome, s.Because()), signal.MaxSummary)
	return s.Candidate(e, cause)
}

// kept is the form in which the state is kept. Halves that wait are lost.
type kept struct {
	Tracker json.RawMessage `json:"tracker"`
	Changes []detect.Change `json:"changes,omitempty"`
}

// Snapshot implements detect.Detector.
func (d *Detector) Snapshot() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	tracker, err := d.tracker.Snapshot()
	if err != nil {
		return nil, err
	}
	return detect.SealJSON(snapshotVersion, kept{Tracker: tracker, Changes: d.changes})
}

// Restore implements detect.Detector.
func (d *Detector) Restore(data []byte) error {
	k, err := detect.OpenJSON[kept](snapshotVersion, data)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.tracker.Restore(k.Tracker); err != nil {
		return err
	}
	d.changes = k.Changes[:min(len(k.Changes), maxChanges)]
	d.pending, d.order, d.oldest = map[half]waiting{}, nil, 0
	return nil
}

// Fill implements detect.Detector.
func (d *Detector) Fill() detect.Fill {
	d.mu.Lock()
	defer d.mu.Unlock()
	used, limit := d.tracker.Targets()
	return detect.Fill{Used: used, Limit: limit}
}

// SPDX-License-Identifier: Apache-2.0

// Package flagimpact says of a variant of a feature flag whether the requests that get it fare worse than those that get another.
package flagimpact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
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
	exportVersion   = 1
	// maxFlags bounds the flags that one request may evaluate.
	maxFlags = 8
)

// Detector is a detect.Detector. All of it may be called from many goroutines.
type Detector struct {
	*track.Watch
	ttl                     time.Duration
	maxPending, maxServices int

	// What follows is guarded by the watch's lock.

	// services are those that evaluate flags, by name; swept is when those were dropped last that do so no more.
	services map[string]*asker
	swept    time.Time
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

// asker is a service that evaluates flags. Its name is kept, so that a pending half keeps nothing of the telemetry. idle is set until it
// evaluates one again.
type asker struct {
	name string
	idle bool
}

// maxIdle is the event time after which a service that evaluates no flags gives up its place, when a tenth of the places is left.
const maxIdle = time.Hour

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
	d := &Detector{
		ttl: s.TTL, maxPending: s.MaxPending, maxServices: s.MaxServices,
		services: map[string]*asker{}, pending: map[half]waiting{},
	}
	d.Watch = track.NewWatch(track.WatchSettings{
		Settings: s.Settings, TTL: s.TTL, SnapshotVersion: snapshotVersion, ExportVersion: exportVersion, Restored: d.forgetHalves,
	})
	return d
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "flagimpact" }

// controls are the usual names of the variant that changes nothing.
var controls = map[string]bool{"control": true, "off": true, "false": true, "disabled": true, "default": true}

// TakeLost returns how much was left out since the last call, in the order of track.Losses.
func (d *Detector) TakeLost() []uint64 {
	tracker := d.Lock()
	defer d.Unlock()
	lost := tracker.TakeLost()
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
		service = &asker{name: strings.Clone(key.Service)}
		d.services[service.name] = service
	}
	service.idle = false
	id := half{trace, service.name}
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
	known := d.services[service]
	if known == nil {
		return
	}
	id := half{r.Trace, known.name}
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
	tracker := d.Tracker()
	if arm := tracker.Find(key, variant); arm != nil {
		return arm
	}
	arm := tracker.Arm(key, variant, at)
	if arm != nil {
		d.announce(key, variant)
	}
	return arm
}

// announce makes a variant that appeared the canary, unless it is the one that changes nothing.
func (d *Detector) announce(key track.Key, variant string) {
	if !controls[variant] {
		d.Tracker().Announce(key, variant, 0)
	}
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
	d.Lock()
	defer d.Unlock()
	d.Remember(c)
}

// TakeChanges returns a flip for each variant that appeared beside or after another.
func (d *Detector) TakeChanges() []detect.Change {
	tracker := d.Lock()
	defer d.Unlock()
	newcomers := tracker.TakeNewcomers()
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
	tracker := d.Lock()
	defer d.Unlock()
	d.sweep(now)
	var out []detect.Candidate
	for _, s := range tracker.Advance(now) {
		if s.Verdict.Outcome != verdict.Inconclusive && d.Says(&s, now) {
			out = append(out, d.compose(&s, now))
		}
	}
	return out
}

// sweep drops the services that evaluated no flag since the last sweep, where places are getting scarce.
func (d *Detector) sweep(now time.Time) {
	if d.swept.IsZero() || now.Before(d.swept) {
		d.swept = now
	}
	if now.Sub(d.swept) < maxIdle {
		return
	}
	d.swept = now
	scarce := len(d.services) > d.maxServices-d.maxServices/10-1
	for name, s := range d.services {
		if s.idle && scarce {
			delete(d.services, name)
		}
		s.idle = true
	}
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
	e.CausedBy = d.Causes(s.Key, func(c *detect.Change) bool { return c.Flag == s.Key.Subject })
	cause := ""
	if len(e.CausedBy) > 0 {
		cause = e.CausedBy[0]
	}
	e.Summary = signal.CleanText(fmt.Sprintf("flag %s of %s, variant %s beside %s: %s; %s.", flag, target.Service, variant, beside,
		s.Verdict.Outcome, s.Because()), signal.MaxSummary)
	return s.Candidate(e, cause)
}

// forgetHalves drops what waits, and with it the arms that a restored state replaced.
func (d *Detector) forgetHalves() { d.pending, d.order, d.oldest = map[half]waiting{}, nil, 0 }

// Merge adds a part of what another collector saw; see detect.Merger. limit is the latest event time that is believed.
func (d *Detector) Merge(part []byte, limit time.Time) error {
	return d.MergePart(part, limit, d.announce)
}

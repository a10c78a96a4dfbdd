// SPDX-License-Identifier: Apache-2.0

// Package canary finds services of which two versions run at the same time and says of the newer one whether it may go on.
package canary

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/verdict"
	"github.com/pitwall-io/pitwall/internal/verdict/track"
)

// Settings of a Detector; the zero value stands for the defaults.
type Settings struct {
	track.Settings
	// TTL is how long a verdict is valid. Default 10m.
	TTL time.Duration
}

// snapshotVersion is the version of the form in which the state is kept, exportVersion that in which it is sent.
const (
	snapshotVersion = 1
	exportVersion   = 1
)

// Detector is a detect.Detector. All of it may be called from many goroutines.
type Detector struct {
	*track.Watch
	ttl time.Duration
}

var (
	_ detect.Detector       = (*Detector)(nil)
	_ detect.ChangeObserver = (*Detector)(nil)
	_ detect.ChangeSource   = (*Detector)(nil)
)

// New returns a detector that has seen nothing.
func New(s Settings) *Detector {
	if s.TTL == 0 {
		s.TTL = 10 * time.Minute
	}
	return &Detector{ttl: s.TTL, Watch: track.NewWatch(track.WatchSettings{
		Settings: s.Settings, TTL: s.TTL, SnapshotVersion: snapshotVersion, ExportVersion: exportVersion,
	})}
}

// Name implements detect.Detector.
func (*Detector) Name() string { return "canary" }

// ObserveChange remembers a deployment as the cause of a new version, which is then the canary.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.Kind != detect.Deployment || c.Version == "" {
		return
	}
	tracker := d.Lock()
	defer d.Unlock()
	d.Remember(c)
	if c.Tool != detect.ToolTelemetry {
		tracker.Announce(track.Key{Service: c.Service, Namespace: c.Namespace, Environment: c.Environment}, c.Version, 0)
	}
}

// TakeChanges returns a deployment for each version that appeared beside or after another, and its release when the other is gone.
func (d *Detector) TakeChanges() []detect.Change {
	tracker := d.Lock()
	defer d.Unlock()
	newcomers := tracker.TakeNewcomers()
	seen := make([]detect.Change, 0, len(newcomers))
	for _, n := range newcomers {
		c := detect.Change{
			Kind: detect.Deployment, Time: n.At, Action: "deploy", State: "succeeded", Tool: detect.ToolTelemetry,
			Service: n.Key.Service, Namespace: n.Key.Namespace, Environment: n.Key.Environment, Version: n.Name,
		}
		if n.Released {
			c.Action = "release"
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d", c.Service, c.Namespace, c.Environment, c.Version, n.At.UnixNano()))
		c.ID = "telemetry-" + hex.EncodeToString(sum[:8])
		seen = append(seen, c)
	}
	return seen
}

// Advance implements detect.Detector.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	tracker := d.Lock()
	defer d.Unlock()
	var out []detect.Candidate
	for _, s := range tracker.Advance(now) {
		if d.Says(&s, now) {
			out = append(out, d.compose(&s, now))
		}
	}
	return out
}

func (d *Detector) compose(s *track.State, now time.Time) detect.Candidate {
	target := signal.Target{
		Service:   signal.CleanText(s.Key.Service, signal.MaxText),
		Namespace: signal.CleanText(s.Key.Namespace, signal.MaxText), Environment: signal.CleanText(s.Key.Environment, signal.MaxText),
		Revision: signal.CleanText(s.Canary, signal.MaxText),
	}
	baseline := signal.CleanText(s.Baseline, signal.MaxText)
	e := s.Envelope(signal.KindCanaryVerdict, target, map[string]string{"baseline": baseline}, now, d.ttl)
	e.Severity = signal.SeverityInfo
	e.Action = signal.Action{Verb: "hold", Reversible: true, Risk: signal.RiskNone}
	switch s.Verdict.Outcome {
	case verdict.Fail:
		e.Severity = signal.SeverityPage
		e.Action = signal.Action{Verb: "rollback", Alternatives: []string{"hold"}, Reversible: true, Risk: signal.RiskLow}
	case verdict.Pass:
		e.Action = signal.Action{Verb: "promote", Alternatives: []string{"hold"}, Reversible: true, Risk: signal.RiskMedium}
	}
	if s.Ended {
		e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	}
	e.Action.Params = map[string]string{"baseline": baseline, "revision": target.Revision}
	e.CausedBy = d.Causes(s.Key, func(c *detect.Change) bool { return c.Version == s.Canary })
	cause := ""
	if len(e.CausedBy) > 0 {
		cause = e.CausedBy[0]
	}
	e.Summary = signal.CleanText(fmt.Sprintf("%s %s beside %s: %s; %s.",
		target.Service, target.Revision, baseline, s.Verdict.Outcome, s.Because()), signal.MaxSummary)
	return s.Candidate(e, cause)
}

// Merge adds a part of what another collector saw; see detect.Merger. limit is the latest event time that is believed.
func (d *Detector) Merge(part []byte, limit time.Time) error { return d.MergePart(part, limit, nil) }

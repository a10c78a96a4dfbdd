// SPDX-License-Identifier: Apache-2.0

// Package blind notices when telemetry that used to arrive does not arrive any more, so that silence is not mistaken for health.
package blind

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

// Settings bound a Detector.
type Settings struct {
	// MaxStreams bounds the streams of telemetry that are followed; further ones are not expected and cannot be missed.
	MaxStreams int
	// MinCoverage is the share of the expected input below which the detector says that it is blind.
	MinCoverage float64
	// Silence is how long a stream must be silent, in event time, before it is missing.
	Silence time.Duration
	// Forget is how long a stream must be missing before it is no longer expected: it was switched off.
	Forget time.Duration
	// TTL is how long a signal is valid.
	TTL time.Duration
}

// Default returns the settings for everything but the bound.
func Default(maxStreams int) Settings {
	return Settings{MaxStreams: maxStreams, MinCoverage: 0.95, Silence: time.Minute, Forget: time.Hour, TTL: 10 * time.Minute}
}

// A stream is expected once it was heard in learned of the last history evaluations before it fell silent: what comes now and then, such
// as a nightly job, is not missed between.
const (
	history = 30
	learned = 24
	// smoothing is the weight of the newest evaluation in the items expected.
	smoothing = 0.1
)

type key struct{ service, signal string }

var errDamaged = errors.New("statistics cannot be used")

// stream is the telemetry of one kind from one service. Its fields are exported for the snapshot alone.
type stream struct {
	Service, Signal string
	// Heard has a bit for each of the last evaluations in which something came, the newest lowest; it stands still in silence.
	Heard uint32
	// Items is the smoothed number of items in an evaluation.
	Items    float64
	LastSeen time.Time
	// Criticality is the service.criticality that came with it last.
	Criticality string
	now         float64
}

func (s *stream) expected() bool { return bits.OnesCount32(s.Heard&(1<<history-1)) >= learned }

// Detector follows the streams. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	streams  map[key]*stream
	// services has, of each service, the share of its expected items that arrive, and its criticality.
	services map[string]standing
	// coverage is the share of all expected items that arrive; negative while nothing is expected.
	coverage float64
	// since is when the detector became blind; zero when it is not.
	since time.Time
}

type standing struct {
	coverage    float64
	criticality string
}

// New returns a detector that expects nothing.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, streams: map[key]*stream{}, services: map[string]standing{}, coverage: -1}
}

// Observe takes n items of one kind of telemetry from one service. It keeps neither text.
func (d *Detector) Observe(service, kind string, n int, criticality string) {
	d.add(service, kind, float64(n), criticality)
}

func (d *Detector) add(service, kind string, n float64, criticality string) {
	s := d.streams[key{service, kind}]
	if s == nil {
		if len(d.streams) >= d.settings.MaxStreams {
			return
		}
		s = &stream{Service: strings.Clone(service), Signal: strings.Clone(kind)}
		d.streams[key{s.Service, s.Signal}] = s
	}
	s.now += n
	if s.Criticality != criticality && criticality != "" {
		s.Criticality = strings.Clone(criticality)
	}
}

// Coverage returns the share of the expected input that arrives, the lower one of all input and of the service's; nil while nothing is
// expected.
func (d *Detector) Coverage(service string) *float64 {
	if d.coverage < 0 {
		return nil
	}
	c := d.coverage
	if own, ok := d.services[service]; ok && own.coverage >= 0 {
		c = min(c, own.coverage)
	}
	return &c
}

// Criticality returns the service.criticality last seen of a service; empty when there was none.
func (d *Detector) Criticality(service string) string { return d.services[service].criticality }

// Streams returns how many streams are followed.
func (d *Detector) Streams() int { return len(d.streams) }

// Advance closes an evaluation at event time now.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	var all, arriving float64
	type sums struct{ all, arriving float64 }
	of := map[string]sums{}
	criticality := map[string]string{}
	var missing []*stream
	for k, s := range d.streams {
		if s.now > 0 {
			s.Items += smoothing * (s.now - s.Items)
			s.Heard = s.Heard<<1 | 1
			s.LastSeen = now
			s.now = 0
		} else if now.Sub(s.LastSeen) < d.settings.Silence {
			s.Heard <<= 1
		}
		silent := now.Sub(s.LastSeen)
		if silent >= d.settings.Forget || silent >= d.settings.Silence && !s.expected() {
			delete(d.streams, k)
			continue
		}
		if s.Criticality != "" {
			criticality[s.Service] = max(criticality[s.Service], s.Criticality)
		}
		if !s.expected() {
			continue
		}
		sum := of[s.Service]
		sum.all += s.Items
		all += s.Items
		if silent < d.settings.Silence {
			sum.arriving += s.Items
			arriving += s.Items
		} else {
			missing = append(missing, s)
		}
		of[s.Service] = sum
	}
	clear(d.services)
	for service, sum := range of {
		d.services[service] = standing{coverage: share(sum.arriving, sum.all), criticality: criticality[service]}
	}
	for service, c := range criticality {
		if _, ok := d.services[service]; !ok {
			d.services[service] = standing{coverage: -1, criticality: c}
		}
	}
	d.coverage = share(arriving, all)
	return d.say(now, missing)
}

// share rounds to six digits, so that the order in which floats were added shows nowhere.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return -1
	}
	return float64(int64(part/whole*1e6+0.5)) / 1e6
}

func (d *Detector) say(now time.Time, missing []*stream) []detect.Candidate {
	blind := d.coverage >= 0 && d.coverage < d.settings.MinCoverage
	switch {
	case blind && d.since.IsZero():
		d.since = now
	case !blind && d.since.IsZero():
		return nil
	}
	slices.SortFunc(missing, func(a, b *stream) int {
		return cmp.Or(cmp.Compare(b.Items, a.Items), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Signal, b.Signal))
	})
	coverage := max(d.coverage, 0)
	e := signal.Envelope{
		ID: signal.NewID(signal.KindBlind, signal.Target{}, nil, d.since), Kind: signal.KindBlind, Version: signal.Version,
		State: signal.StateFiring, Severity: signal.SeverityTicket,
		Action:     signal.Action{Verb: "hold", Params: map[string]string{"scope": "all_automation"}, Reversible: true, Risk: signal.RiskNone},
		Confidence: signal.Confidence{Value: 1, Method: "silence"},
		Evidence: signal.Evidence{
			Inputs: []string{"traces", "metrics", "logs"}, Coverage: &coverage,
			Statistics: map[string]float64{"streams.missing": float64(len(missing)), "streams.followed": float64(len(d.streams))},
		},
		ValidFrom: d.since, UpdatedAt: now, ExpiresAt: now.Add(d.settings.TTL),
	}
	e.Summary = fmt.Sprintf("Only %.4g %% of the telemetry that used to arrive does; nothing is concluded from it.", 100*coverage)
	for _, s := range missing[:min(len(missing), 5)] {
		e.Evidence.Contributors = append(e.Evidence.Contributors, signal.Contributor{
			Attribute: "service.name", Value: signal.CleanText(s.Service+" ("+s.Signal+")", signal.MaxText),
		})
	}
	if !blind {
		e.State, e.ExpiresAt, d.since = signal.StateResolved, now, time.Time{}
		e.Summary = "The telemetry that used to arrive does again, or is no longer expected."
		e.Action = signal.Action{Verb: "none", Reversible: true, Risk: signal.RiskNone}
	}
	return []detect.Candidate{{Envelope: e, Reliability: true}}
}

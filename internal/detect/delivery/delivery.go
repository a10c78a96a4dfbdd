// SPDX-License-Identifier: Apache-2.0

// Package delivery keeps the score of how software is delivered: how many deployments fail, how many are taken back, how long it takes
// until a failure is noticed and until it is over. The measures are those of DORA (dora.dev/guides/dora-metrics-four-keys), made from
// changes and pages.
package delivery

import (
	"slices"
	"time"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// Settings bound a Detector.
type Settings struct {
	// MaxServices bounds the services whose deployments are followed; those of further ones are counted as left out.
	MaxServices int
	// Watch is how long after a deployment a page of its service counts against it.
	Watch time.Duration
	// Revert is how long after a deployment its rollback counts as one of it.
	Revert time.Duration
}

// Default returns the settings for everything but the bound.
func Default(maxServices int) Settings {
	return Settings{MaxServices: maxServices, Watch: time.Hour, Revert: 24 * time.Hour}
}

// days is how many days rates look back.
const days = 30

const (
	maxEpisodes = 64  // pages of one service that fire at the same time
	maxWatched  = 256 // deployments of one service that are watched; beyond, the oldest is judged at once
)

// Page is a page of a service that begins or ends. Episode tells the pages of a service apart.
type Page struct {
	Service, Episode string
	Firing           bool
	// Time is when it began or ended.
	Time time.Time
}

// Events are what became known since they were taken last. Times are in seconds.
type Events struct {
	Succeeded, Failed, Reverted, LeftOut int64
	SecondsToDetect, SecondsToMitigate   []float64
}

// deployment is one that is still watched. Its fields are exported for the snapshot alone.
type deployment struct {
	ID, Version      string
	Time             time.Time
	Failed, Reverted bool
	// Detected is when the first page after it began; zero without one. Mitigated says that its end was counted.
	Detected  time.Time
	Mitigated bool
}

// service is what is known of a service.
type service struct {
	// Deployments are those still watched, oldest first.
	Deployments []*deployment
	// Versions are the one that runs and the one that ran before, to know a way back that nobody calls a rollback.
	Running, Before string
	// Open are the pages that fire, by episode, with their beginnings.
	Open map[string]time.Time
	// Last is when something was heard last.
	Last time.Time
}

// day counts what was judged in a day.
type day struct {
	Number                   int64
	Judged, Failed, Reverted int64
}

// Detector keeps the score. It is not safe for concurrent use.
type Detector struct {
	settings Settings
	services map[string]*service
	days     [days]day
	events   Events
	now      time.Time
}

// New returns a detector that knows no deployment.
func New(settings Settings) *Detector {
	return &Detector{settings: settings, services: map[string]*service{}}
}

// Services returns how many services are followed.
func (d *Detector) Services() int { return len(d.services) }

// ObserveChange takes a change; only deployments of a named service matter here.
func (d *Detector) ObserveChange(c detect.Change) {
	if c.Kind != detect.Deployment || c.Service == "" || c.State == "planned" || c.State == "started" {
		return
	}
	s := d.service(c.Service, c.Time)
	if s == nil {
		d.events.LeftOut++
		return
	}
	back := c.Action == "rollback" || c.Version != "" && c.Version == s.Before && c.Version != s.Running
	switch {
	case c.Action == "remove":
		return
	case back && c.State != "failed":
		d.takeBack(s, c)
		// What was taken back may be deployed again, repaired, under the same name.
		s.Running, s.Before = c.Version, ""
		return
	case back:
		return // a rollback that failed mitigates nothing
	case c.Version != "" && c.Version == s.Running:
		return // told twice, by two tools
	default:
		one := &deployment{ID: c.ID, Version: c.Version, Time: c.Time}
		if len(s.Deployments) == maxWatched {
			d.judge(s.Deployments[0])
			s.Deployments = slices.Delete(s.Deployments, 0, 1)
		}
		s.Deployments = append(s.Deployments, one)
		if c.State == "failed" {
			d.fail(one, c.Time)
			return // what ran before still runs
		}
	}
	if c.Version != "" && c.Version != s.Running {
		s.Before, s.Running = s.Running, c.Version
	}
}

// takeBack counts the last deployment before the rollback as reverted, which makes it a failed one too, and as mitigated.
func (d *Detector) takeBack(s *service, c detect.Change) {
	for _, v := range slices.Backward(s.Deployments) {
		one := v
		if one.Time.After(c.Time) || one.Reverted || c.Time.Sub(one.Time) > d.settings.Revert {
			continue
		}
		d.fail(one, c.Time)
		one.Reverted = true
		d.events.Reverted++
		d.today(c.Time).Reverted++
		d.mitigate(one, c.Time)
		return
	}
}

// ObservePage takes a page that begins or ends.
func (d *Detector) ObservePage(p Page) {
	if p.Service == "" {
		return
	}
	s := d.services[p.Service]
	if s == nil {
		return // no deployment of it is watched
	}
	if !p.Firing {
		began, open := s.Open[p.Episode]
		delete(s.Open, p.Episode)
		if !open || len(s.Open) > 0 {
			return // it is over when the last page is
		}
		for _, one := range s.Deployments {
			if one.Failed && !one.Detected.IsZero() && !one.Detected.After(p.Time) && !began.Before(one.Time) {
				d.mitigate(one, p.Time)
			}
		}
		return
	}
	if _, open := s.Open[p.Episode]; open || len(s.Open) >= maxEpisodes {
		return
	}
	if s.Open == nil {
		s.Open = map[string]time.Time{}
	}
	s.Open[p.Episode] = p.Time
	for _, v := range slices.Backward(s.Deployments) {
		one := v
		if since := p.Time.Sub(one.Time); since < 0 {
			continue
		} else if since <= d.settings.Watch && one.Detected.IsZero() {
			d.fail(one, p.Time)
			one.Detected = p.Time
			d.events.SecondsToDetect = append(d.events.SecondsToDetect, since.Seconds())
		}
		return // only the last deployment before the page is to blame
	}
}

func (d *Detector) fail(one *deployment, at time.Time) {
	if one.Failed {
		return
	}
	one.Failed = true
	d.events.Failed++
	day := d.today(at)
	day.Judged++
	day.Failed++
}

// mitigate counts how long a noticed failure lasted, once.
func (d *Detector) mitigate(one *deployment, at time.Time) {
	if one.Mitigated || one.Detected.IsZero() || at.Before(one.Detected) {
		return
	}
	one.Mitigated = true
	d.events.SecondsToMitigate = append(d.events.SecondsToMitigate, at.Sub(one.Detected).Seconds())
}

// service returns the state of a service, or nil where there is no room for another.
func (d *Detector) service(name string, at time.Time) *service {
	s := d.services[name]
	if s == nil {
		if len(d.services) >= d.settings.MaxServices {
			return nil
		}
		s = &service{}
		d.services[name] = s
	}
	if at.After(s.Last) {
		s.Last = at
	}
	return s
}

// today is the count of the day of a time; a day before the last thirty shares the slot of the one it would push out, and loses.
func (d *Detector) today(at time.Time) *day {
	number := at.Unix() / int64(24*time.Hour/time.Second)
	slot := &d.days[((number%days)+days)%days]
	if number > slot.Number || slot.Number == 0 {
		*slot = day{Number: number}
	}
	return slot
}

// Advance lets event time pass to now: the watch over a deployment ends when a rollback of it would not count any more, also of one whose
// page has not ended. It has nothing to say as a signal.
func (d *Detector) Advance(now time.Time) []detect.Candidate {
	d.now = now
	for name, s := range d.services {
		s.Deployments = slices.DeleteFunc(s.Deployments, func(one *deployment) bool {
			over := now.Sub(one.Time) > d.settings.Revert
			if over {
				d.judge(one)
			}
			return over
		})
		if len(s.Deployments) == 0 && len(s.Open) == 0 && now.Sub(s.Last) > days*24*time.Hour {
			delete(d.services, name)
		}
	}
	return nil
}

// judge ends the watch over a deployment: one that did not fail has succeeded.
func (d *Detector) judge(one *deployment) {
	if !one.Failed {
		d.events.Succeeded++
		d.today(one.Time.Add(d.settings.Revert)).Judged++
	}
}

// TakeEvents returns what became known since the last call.
func (d *Detector) TakeEvents() Events {
	events := d.events
	d.events = Events{}
	return events
}

// Rates are the shares of the last thirty days.
type Rates struct {
	// Judged is how many deployments the shares are of.
	Judged int64
	// Failed and Reverted are shares in [0, 1]; 0 where nothing was judged.
	Failed, Reverted float64
}

// Rates returns the shares of the last thirty days.
func (d *Detector) Rates() Rates {
	var r Rates
	var failed, reverted int64
	oldest := d.now.Unix()/int64(24*time.Hour/time.Second) - days
	for _, one := range d.days {
		if one.Number > oldest {
			r.Judged += one.Judged
			failed += one.Failed
			reverted += one.Reverted
		}
	}
	if r.Judged > 0 {
		r.Failed, r.Reverted = float64(failed)/float64(r.Judged), float64(reverted)/float64(r.Judged)
	}
	return r
}

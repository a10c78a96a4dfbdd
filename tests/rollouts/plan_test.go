// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A rollout of the resampled kind: the old version alone, both side by side, the new one alone, whatever was said of it.
const (
	slice     = 10 * time.Second
	aloneFor  = 20 * time.Minute
	besideFor = 20 * time.Minute
	afterFor  = 15 * time.Minute
	length    = aloneFor + besideFor + afterFor

	oldVersion = "1.4.0"
	newVersion = "1.5.0"
)

// fault is what is wrong with the new version.
type fault string

const (
	benign  fault = ""
	errors  fault = "errors"
	latency fault = "latency"
	tail    fault = "tail only"
	leak    fault = "leak"
	logged  fault = "wrong result, logged as an error"
)

var faults = []fault{errors, latency, tail, leak, logged}

// scenario is one rollout with everything that happens around it.
type scenario struct {
	name  string
	fault fault
	// share of the requests that the fault hits; factor by which durations grow; growth of memory in a minute.
	share, factor, growth float64
	// weight is the new version's share of the traffic while both run, load how many requests come for each that was recorded.
	weight, load float64
	// noise is the share of requests that fail whatever the version.
	noise float64
	// incidentAt is when, for a minute, both versions fail and are slow; zero for never.
	incidentAt time.Duration
	// surgeAt is when traffic doubles and everything takes 1.3 times as long, for good; zero for never.
	surgeAt time.Duration
	// told says that a deployment tool tells of the rollout; otherwise it is seen in the telemetry alone.
	told bool
	// decoys are the times of changes that have nothing to do with it: a deployment of cart, a flag of frontend, a configuration of payment.
	decoys [3]time.Duration
}

// plan draws the scenarios: of each ten seven are benign. The ranges are not adjusted to what is found.
func plan(n int, r *rand.Rand) []scenario {
	all := make([]scenario, n)
	for i := range all {
		s := &all[i]
		*s = scenario{name: fmt.Sprintf("run-%02d", i), load: 1, weight: []float64{0.1, 0.2, 0.3, 0.5}[r.IntN(4)], told: r.IntN(2) == 0}
		if i%18 >= 13 { // five of eighteen, one of each kind
			s.fault = faults[i%18-13]
		}
		s.share, s.factor = 1, 1
		switch s.fault {
		case errors, logged:
			s.share = between(r, 0.05, 0.2)
		case latency:
			s.factor = between(r, 1.4, 2)
		case tail:
			s.share, s.factor = between(r, 0.06, 0.12), between(r, 4, 8)
		case leak:
			s.growth = between(r, 0.02, 0.05)
		}
		s.noise = between(r, 0, 0.01)
		if r.Float64() < 0.3 {
			s.incidentAt = aloneFor + time.Duration(between(r, -10, 25)*float64(time.Minute)).Truncate(slice)
		}
		if r.Float64() < 0.3 {
			s.surgeAt = aloneFor + time.Duration(between(r, -5, 5)*float64(time.Minute)).Truncate(slice)
		}
		if r.Float64() < 0.2 { // little traffic, of which a small part would show nothing
			s.load, s.weight = between(r, 0.15, 0.4), max(s.weight, 0.3)
		}
		s.decoys = [3]time.Duration{
			aloneFor - time.Duration(between(r, 3, 12)*float64(time.Minute)),
			aloneFor - time.Duration(between(r, 4, 14)*float64(time.Minute)),
			aloneFor + time.Duration(between(r, 2, 10)*float64(time.Minute)),
		}
	}
	return all
}

func between(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }

// SPDX-License-Identifier: Apache-2.0

// Package load makes visitors: they arrive at random, more by day than by night, and do what visitors do.
package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// Shape returns how busy a moment of the day is, relative to the day's mean: 0.3 at four in the morning, 1.4 in the afternoon. The
// argument is the time of day as a share of the day; anything outside [0, 1) is another day. Its mean over a day is 1.
func Shape(timeOfDay float64) float64 {
	return 1 - 0.55*math.Cos(2*math.Pi*(timeOfDay-4.0/24)) - 0.15*math.Cos(4*math.Pi*(timeOfDay-4.0/24))
}

// peak is an upper bound of Shape.
const peak = 1.41

// Journey is what a visitor came for.
type Journey int

// The journeys.
const (
	Browse Journey = iota
	AddToCart
	Checkout
)

// requests is how many requests to the front end a journey makes.
var requests = map[Journey]float64{Browse: 2, AddToCart: 2, Checkout: 3}

// share is which share of the visitors takes a journey.
var share = []struct {
	journey Journey
	of      float64
}{{Browse, 0.7}, {AddToCart, 0.2}, {Checkout, 0.1}}

// Arrival is one visitor.
type Arrival struct {
	// At is when, since the start.
	At      time.Duration
	Journey Journey
	// Visitor numbers the visitors from 0.
	Visitor int64
	// Seed makes the visitor's own choices.
	Seed uint64
}

// Arrivals is a Poisson process whose rate follows the day. The same settings give the same visitors.
type Arrivals struct {
	perSecond float64 // visitors per second, the day's mean
	day       time.Duration
	start     float64 // time of day at the start, as a share of the day
	random    *rand.Rand
	at        time.Duration
	visitors  int64
}

// NewArrivals takes the mean of requests per second, the length of a day, the hour of day to start at and a seed.
func NewArrivals(requestsPerSecond float64, day time.Duration, startHour float64, seed uint64) *Arrivals {
	perVisitor := 0.0
	for _, s := range share {
		perVisitor += s.of * requests[s.journey]
	}
	return &Arrivals{
		perSecond: requestsPerSecond / perVisitor,
		day:       day,
		start:     startHour / 24,
		random:    rand.New(rand.NewPCG(seed, 0x5b0e)),
	}
}

// Next returns the next visitor. Thinning (Lewis and Shedler, 1979): draw from the busiest rate, keep by the rate of the moment.
func (a *Arrivals) Next() Arrival {
	for {
		a.at += time.Duration(a.random.ExpFloat64() / (a.perSecond * peak) * float64(time.Second))
		timeOfDay := a.start + a.at.Seconds()/a.day.Seconds()
		if a.random.Float64()*peak >= Shape(timeOfDay) {
			continue
		}
		arrival := Arrival{At: a.at, Journey: a.pick(), Visitor: a.visitors, Seed: a.random.Uint64()}
		a.visitors++
		return arrival
	}
}

func (a *Arrivals) pick() Journey {
	roll := a.random.Float64()
	for _, s := range share {
		if roll < s.of {
			return s.journey
		}
		roll -= s.of
	}
	return Browse
}

// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// scale is the share of the full size that the simulations run at; see PITWALL_SCALE in the Makefile.
func scale(full int) int {
	s, err := strconv.ParseFloat(os.Getenv("PITWALL_SCALE"), 64)
	if err != nil || s <= 0 || s > 1 {
		s = 0.01
	}
	return max(int(math.Ceil(float64(full)*s)), min(full, 20))
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// server draws requests: lognormal durations and independent errors.
type server struct {
	median, sigma, errors float64
	// slowShare of the requests take slowBy times as long.
	slowShare, slowBy float64
}

func (s server) requests(r *rand.Rand, n int) *Slice {
	out := &Slice{}
	for range n {
		d := s.median * math.Exp(s.sigma*r.NormFloat64())
		if s.slowShare > 0 && r.Float64() < s.slowShare {
			d *= s.slowBy
		}
		out.Observe(time.Duration(d*float64(time.Second)), r.Float64() < s.errors)
	}
	return out
}

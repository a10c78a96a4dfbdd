// SPDX-License-Identifier: Apache-2.0

package regression

import (
	"math"
	"slices"
)

// The constants of the segmentation. Points are values of one series at equal distances in time.
const (
	// Window is how many points of the current segment are looked at.
	Window = 60
	// side is how many points a change needs on either side, edge how many a split leaves after it, and shoulder how many of them on either side say how large it is.
	side     = 5
	edge     = 2
	shoulder = 15
	// minZ is the standardised rank sum from which a split is significant: 1 in 16,000 for one split.
	minZ = 4.0
)

// Point is a change point of a series.
type Point struct {
	// Index of the first value of the new level, counted from the beginning of the series.
	Index int `json:"index"`
	// Z is the standardised rank sum of the values after against those before; positive when they are higher.
	Z float64 `json:"z"`
	// Before and After are the medians next to the change.
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Magnitude returns the change as a share of what was before; infinite from zero.
func (p Point) Magnitude() float64 {
	if p.Before == 0 {
		return math.Inf(int(p.After))
	}
	return p.After/p.Before - 1
}

// Series finds change points as values come. It divides as E-divisive does (Matteson and James 2014): the split is where the energy
// distance between the two sides is greatest. Where theirs permutes to tell whether that is chance, ours takes the rank sum of the two
// sides, which needs no random numbers and is not moved by an outlier; and it looks at the end of the series only, so that a value
// costs the same however long the series is.
type Series struct {
	// Values are the last ones of the current segment, at most Window.
	Values []float64 `json:"values"`
	// First is the index of Values[0].
	First int `json:"first"`
	// MinMagnitude is the least relative, and MinDifference the least absolute, change of the medians that counts.
	MinMagnitude  float64 `json:"min_magnitude"`
	MinDifference float64 `json:"min_difference"`
}

// Add takes the next value and returns the change point it completes, if it does.
func (s *Series) Add(v float64) (Point, bool) {
	if len(s.Values) >= Window {
		copy(s.Values, s.Values[1:])
		s.Values = s.Values[:Window-1]
		s.First++
	}
	s.Values = append(s.Values, v)
	if len(s.Values) < 2*side {
		return Point{}, false
	}
	k := s.split()
	if len(s.Values)-k < side {
		return Point{}, false // too new to tell; to look for the next best would put it before its time
	}
	p := Point{Index: s.First + k, Before: median(s.Values[max(0, k-shoulder):k]), After: median(s.Values[k:min(len(s.Values), k+shoulder)])}
	if difference := math.Abs(p.After - p.Before); difference < s.MinDifference || difference < s.MinMagnitude*math.Abs(p.Before) {
		return Point{}, false
	}
	if p.Z = rankSum(s.Values[:k], s.Values[k:]); math.Abs(p.Z) < minZ {
		return Point{}, false
	}
	s.Values = slices.Delete(s.Values, 0, k)
	s.First += k
	return p, true
}

// split returns where the energy distance of the two sides, weighted by their sizes, is greatest. Moving one value from right to left
// changes the three sums of distances by its distances to either side: n steps of n.
func (s *Series) split() int {
	x, n := s.Values, len(s.Values)
	left, right, between := 0.0, 0.0, 0.0
	for i := range n {
		for j := range i {
			right += math.Abs(x[i] - x[j])
		}
	}
	best, at := math.Inf(-1), side
	for k := 1; k <= n-edge; k++ {
		moved := x[k-1]
		toLeft, toRight := 0.0, 0.0
		for j := range k - 1 {
			toLeft += math.Abs(moved - x[j])
		}
		for j := k; j < n; j++ {
			toRight += math.Abs(moved - x[j])
		}
		left += toLeft
		right -= toRight
		between += toRight - toLeft
		if k < side {
			continue
		}
		a, b := float64(k), float64(n-k)
		energy := 2*between/(a*b) - left/(a*(a-1)/2) - right/(b*(b-1)/2)
		if q := a * b / (a + b) * energy; q > best {
			best, at = q, k
		}
	}
	return at
}

// rankSum is the rank sum of after among both, standardised, with the variance corrected for ties (Mann and Whitney 1947).
func rankSum(before, after []float64) float64 {
	n1, n2 := float64(len(before)), float64(len(after))
	pooled := slices.Concat(before, after)
	slices.Sort(pooled)
	sum, ties := 0.0, 0.0
	for i := 0; i < len(pooled); {
		j := i
		for j < len(pooled) && pooled[j] == pooled[i] {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		rank := float64(i+j+1) / 2
		for _, v := range after {
			if v == pooled[i] {
				sum += rank
			}
		}
		i = j
	}
	n := n1 + n2
	variance := n1 * n2 / 12 * (n + 1 - ties/(n*(n-1)))
	if variance <= 0 {
		return 0
	}
	return (sum - n2*(n+1)/2) / math.Sqrt(variance)
}

// median is of at most shoulder values.
func median(values []float64) float64 {
	var room [shoulder]float64
	sorted := room[:copy(room[:], values)]
	slices.Sort(sorted)
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

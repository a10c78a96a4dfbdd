// SPDX-License-Identifier: Apache-2.0

package sliprocessor

// internResource names the contributor values of the resource. Points of metrics are too few for it to be worth putting off.
func (j *judge) internResource() {
	j.ofResource, j.open = j.ofResource[:0], j.open[:0]
	for c, slot := range j.plan.contributors {
		if value, ok := j.resource.get(slot); ok {
			j.ofResource = append(j.ofResource, j.tally.Intern(uint8(c), value))
		} else {
			j.open = append(j.open, c)
		}
	}
}

// matchesAll reports whether conditions hold for the point and its resource.
func (j *judge) matchesAll(matchers []matcher) bool {
	for i := range matchers {
		value, ok := j.lookup(matchers[i].slot)
		if !ok || !matchers[i].matches(value) {
			return false
		}
	}
	return true
}

// keepGroup keeps the values of a group until the batch is delivered.
func (j *judge) keepGroup(slots []int) [2]int {
	from := len(j.arena)
	for _, slot := range slots {
		value, _ := j.lookup(slot)
		j.arena = append(j.arena, value)
	}
	return [2]int{from, len(j.arena)}
}

// keepParts keeps what contributed to a point.
func (j *judge) keepParts() [2]int {
	from := len(j.parts)
	j.parts = append(append(j.parts, j.ofResource...), j.contributions()...)
	return [2]int{from, len(j.parts)}
}

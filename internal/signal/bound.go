// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"errors"
	"fmt"
	"slices"
)

// MaxBytes bounds the JSON form of an envelope, its audit entry included: receivers of webhooks commonly refuse more, and the Standard
// Webhooks specification advises to stay below it.
const MaxBytes = 20_000

// auditReserve is what an audit entry adds at most: two hashes of 64 characters, a number of 20, keys and quotes.
const auditReserve = 256

var errTooLarge = errors.New("signal is too large")

// trimSteps is the order in which evidence goes when an envelope is too large: what a human can find again goes first, the traces
// and windows that make the case go last. Each step removes one item and reports whether there was one.
var trimSteps = []struct {
	name string
	cut  func(*Evidence) bool
}{
	{"contributors", func(ev *Evidence) bool { return dropLast(&ev.Contributors, 1) }},
	{"exemplars", func(ev *Evidence) bool { return dropLast(&ev.Exemplars, 3) }},
	{"statistics", func(ev *Evidence) bool {
		had := len(ev.Statistics) > 0
		ev.Statistics = nil
		return had
	}},
	{"withheld", func(ev *Evidence) bool { return dropLast(&ev.Withheld, 0) }},
	{"contributors", func(ev *Evidence) bool { return dropLast(&ev.Contributors, 0) }},
	{"windows", func(ev *Evidence) bool { return dropLast(&ev.Windows, 2) }},
	{"exemplars", func(ev *Evidence) bool { return dropLast(&ev.Exemplars, 0) }},
}

// Bound returns the envelope with as much evidence removed, in the order of trimSteps, as it takes to fit MaxBytes. What was cut is
// named in the evidence. It fails only when the envelope without that evidence is still too large. The argument is not changed.
func Bound(e Envelope) (Envelope, error) {
	e.Evidence = e.Evidence.clone()
	limit := MaxBytes
	if e.Audit == nil {
		limit -= auditReserve
	}
	for _, step := range trimSteps {
		for {
			data, err := e.MarshalCanonical()
			if err != nil {
				return Envelope{}, err
			}
			if len(data) <= limit {
				return e, nil
			}
			if !step.cut(&e.Evidence) {
				break
			}
			if !slices.Contains(e.Evidence.Trimmed, step.name) {
				e.Evidence.Trimmed = append(e.Evidence.Trimmed, step.name)
			}
		}
	}
	data, err := e.MarshalCanonical()
	if err != nil {
		return Envelope{}, err
	}
	if len(data) > limit {
		return Envelope{}, fmt.Errorf("%w: %d bytes without evidence, at most %d", errTooLarge, len(data), limit)
	}
	return e, nil
}

// clone copies what Bound may change.
func (ev Evidence) clone() Evidence {
	ev.Contributors = slices.Clone(ev.Contributors)
	ev.Exemplars = slices.Clone(ev.Exemplars)
	ev.Windows = slices.Clone(ev.Windows)
	ev.Withheld = slices.Clone(ev.Withheld)
	ev.Trimmed = slices.Clone(ev.Trimmed)
	return ev
}

func dropLast[T any](items *[]T, keep int) bool {
	if len(*items) <= keep {
		return false
	}
	*items = (*items)[:len(*items)-1]
	return true
}

// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pitwall-io/pitwall/examples/shop/truth"
)

// Event is one line of the truth journal: a fault went on or off.
type Event struct {
	Fault string `json:"fault"`
	// Event is "start" or "end".
	Event string    `json:"event"`
	Start time.Time `json:"start"`
	// End is there on an end only.
	End    *time.Time     `json:"end,omitempty"`
	Params map[string]any `json:"params"`
	// Kind, Service and Version are the right answer with the parameters applied.
	Kind    string `json:"kind"`
	Service string `json:"service"`
	Version string `json:"version,omitempty"`
}

// Journal appends truth events to a writer as JSON lines. A nil journal writes nothing.
type Journal struct {
	out io.Writer
}

// NewJournal returns a journal; its caller serialises the calls, as Set does.
func NewJournal(out io.Writer) *Journal {
	return &Journal{out: out}
}

func (j *Journal) started(a Active) error {
	return j.write(a, Event{Event: "start"})
}

func (j *Journal) ended(a Active, end time.Time) error {
	return j.write(a, Event{Event: "end", End: &end})
}

func (j *Journal) write(a Active, e Event) error {
	if j == nil {
		return nil
	}
	known, err := truth.Of(a.Name)
	if err != nil {
		return err
	}
	e.Fault, e.Start, e.Params = a.Name, a.Since, a.Params.plain()
	e.Kind, e.Service = known.Kind, known.Service
	if known.ServiceParam != "" {
		e.Service = a.Params.Text(known.ServiceParam)
	}
	if known.VersionParam != "" {
		e.Version = a.Params.Text(known.VersionParam)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("truth event: %w", err)
	}
	if _, err := j.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the truth journal: %w", err)
	}
	return nil
}

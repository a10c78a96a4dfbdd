// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"fmt"
)

// Snapshot returns the comparison's state in the form Restore reads.
func (c *Comparison) Snapshot() (json.RawMessage, error) { return json.Marshal(&c.state) }

// Restore returns the comparison that Snapshot was taken of, to be judged by the settings given.
func Restore(s Settings, data json.RawMessage) (*Comparison, error) {
	c := &Comparison{settings: s.withDefaults()}
	if err := json.Unmarshal(data, &c.state); err != nil {
		return nil, fmt.Errorf("decode comparison: %w", err)
	}
	return c, nil
}

// SPDX-License-Identifier: Apache-2.0

// Package figures lets a test write down what it measured, so that docs/evaluation.md is made from runs and not by hand.
package figures

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Env names the file that figures are appended to, as JSON lines. Unset, Record does nothing.
const Env = "PITWALL_FIGURES"

// Figure is one row of a table in docs/evaluation.md.
type Figure struct {
	// Table is the heading the row stands under.
	Table string `json:"table"`
	// Row names what was measured.
	Row string `json:"row"`
	// Reached is the figure with its unit, as a reader should see it.
	Reached string `json:"reached"`
	// Wanted is the goal, in the same form; empty where the figure is only reported.
	Wanted string `json:"wanted,omitempty"`
	// Command shows the figure again.
	Command string `json:"command"`
}

// Record appends f to the file that Env names.
func Record(tb testing.TB, f Figure) {
	tb.Helper()
	tb.Logf("%s: %s: %s (wanted: %s)", f.Table, f.Row, f.Reached, f.Wanted)
	path := os.Getenv(Env)
	if path == "" {
		return
	}
	if err := Append(path, f); err != nil {
		tb.Fatalf("write down a figure: %v", err)
	}
}

// Append adds f to the file at path as one line. Processes may append to the same file at the same time.
func Append(path string, f Figure) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Clean(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return file.Close()
}

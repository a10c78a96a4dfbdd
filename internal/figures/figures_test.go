// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFiguresAreAppendedAsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.jsonl")
	t.Setenv(Env, path)
	Record(t, Figure{Table: "replay", Row: "faults named", Reached: "9 of 24", Wanted: "8", Command: "make e2e"})
	Record(t, Figure{Table: "replay", Row: "signals", Reached: "12", Command: "make e2e"})

	content, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	require.Len(t, lines, 2)
	assert.JSONEq(t, `{"table":"replay","row":"faults named","reached":"9 of 24","wanted":"8","command":"make e2e"}`, lines[0])
}

func TestNothingIsWrittenWithoutAFile(t *testing.T) {
	t.Setenv(Env, "")
	Record(t, Figure{Table: "t", Row: "r", Reached: "1", Command: "c"})
}

func TestAppendSaysWhyItCannotWrite(t *testing.T) {
	assert.Error(t, Append(filepath.Join(t.TempDir(), "absent", "figures.jsonl"), Figure{}))
}

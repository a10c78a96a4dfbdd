// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const (
	maxSidecarBytes = 50 << 20
	maxIdleBytes    = 40_000_000
	maxPrivateBytes = 16 << 20
)

// A sidecar is paid for in every pod, so its size and its idle memory are asserted, and the time until it is ready is written down.
func TestSidecarStaysSmall(t *testing.T) {
	binary := harness.Binary(t, "pitwall-sidecar")
	info, err := os.Stat(binary)
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(maxSidecarBytes), "binary size")

	at := newEndpoints(t)
	collector := harness.Start(t, harness.Options{
		Binary:  unpacked(t, binary),
		Configs: []string{config(t, "sidecar.yaml")},
		Env:     at.env,
	})
	ready := collector.ReadyAfter()
	time.Sleep(3 * time.Second) // idle is what is left once the start is over
	usage, err := collector.Usage()
	require.NoError(t, err)
	assert.LessOrEqual(t, usage.RSS, int64(maxIdleBytes), "idle memory")
	assert.LessOrEqual(t, usage.Private, int64(maxPrivateBytes), "idle memory that is not the binary's own pages")
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)

	record := func(row, reached, wanted string) {
		figures.Record(t, figures.Figure{Table: "The small binary, with configs/sidecar.yaml", Row: row, Reached: reached, Wanted: wanted, Command: "make e2e"})
	}
	record("stripped binary", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), "50 MB or less")
	record("resident memory, idle", fmt.Sprintf("%.1f MB", float64(usage.RSS)/1e6), "40 MB or less")
	record("of these its own; the others are pages of the binary, which processes share", fmt.Sprintf("%.1f MB", float64(usage.Private)/1e6), "")
	record("start until ready", fmt.Sprintf("%d ms", ready.Milliseconds()), "300 ms or less")
}

// unpacked returns a copy of a binary, written as a container's layer is. Of a file that a linker has just written the kernel holds
// larger pieces in its cache, and maps them whole: the same process then has some megabytes more of the binary resident.
func unpacked(t *testing.T, binary string) string {
	t.Helper()
	from, err := os.Open(filepath.Clean(binary))
	require.NoError(t, err)
	defer from.Close()
	path := filepath.Join(t.TempDir(), filepath.Base(binary))
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return path
}

// What the small binary leaves out it refuses by name, so that nobody believes in a policy that nothing evaluates.
func TestSidecarRefusesWhatItLeavesOut(t *testing.T) {
	binary := harness.Binary(t, "pitwall-sidecar")
	demo := config(t, "demo.yaml")
	require.NoError(t, harness.Validate(t, binary, demo))
	policy := harness.WriteFile(t, "policy.yaml", `connectors: {optimizer: {policies: [{name: never, when: "true", decision: deny}]}}`)
	err := harness.Validate(t, binary, demo, policy)
	require.ErrorContains(t, err, "connectors::optimizer: invalid configuration: policies: ")
	require.ErrorContains(t, err, "built without policies")

	eks := harness.WriteFile(t, "eks.yaml", "service: {telemetry: {resource: {detection/development: {detectors: [{aws.eks: {}}]}}}}")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--config", config(t, "sidecar.yaml"), "--config", eks)
	cmd.Env = append(os.Environ(), newEndpoints(t).env...)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "the resource detector aws.eks is not in this binary")
}

// The same commit gives the same bytes, whatever the folder and with nothing cached.
func TestBuildIsReproducible(t *testing.T) {
	binary := harness.Binary(t, "pitwall-sidecar")
	root := harness.Root(t)

	elsewhere := filepath.Join(t.TempDir(), "another", "folder")
	require.NoError(t, os.MkdirAll(elsewhere, 0o700))
	copySources := exec.CommandContext(t.Context(), "sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"`, "sh", elsewhere)
	copySources.Dir = root
	out, err := copySources.CombinedOutput()
	require.NoError(t, err, string(out))

	build := exec.CommandContext(t.Context(), "make", "bin/pitwall-sidecar")
	build.Dir = elsewhere
	build.Env = append(os.Environ(), "GOCACHE="+filepath.Join(t.TempDir(), "cache"))
	out, err = build.CombinedOutput()
	require.NoError(t, err, string(out))

	assert.Equal(t, digest(t, binary), digest(t, filepath.Join(elsewhere, "bin", "pitwall-sidecar")))
}

func digest(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(filepath.Clean(path))
	require.NoError(t, err)
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	require.NoError(t, err)
	return hex.EncodeToString(hash.Sum(nil))
}

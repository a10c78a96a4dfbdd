// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roleVariable makes the test binary play a program under test.
const roleVariable = "HARNESS_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role)
		return
	}
	os.Exit(m.Run())
}

// play is what the program under test does.
func play(role string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	switch role {
	case "good":
		fmt.Println(readyLine)
		<-signals
		os.Exit(3)
	case "falls":
		fmt.Println("cannot bind")
		os.Exit(1)
	case "child":
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), roleVariable+"=good")
		if err := child.Start(); err != nil {
			os.Exit(1)
		}
		fmt.Println("child", child.Process.Pid)
		fmt.Println(readyLine)
		<-signals
	case "health":
		_ = http.ListenAndServe(os.Getenv("HARNESS_TEST_ADDRESS"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	case "busy":
		block := make([]byte, 64<<20)
		for i := range block {
			block[i] = byte(i)
		}
		for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
			block[0]++
		}
		fmt.Println(readyLine)
		<-signals
	}
}

func startRole(t *testing.T, role string, env ...string) *Process {
	t.Helper()
	return Start(t, Options{Binary: os.Args[0], Env: append(env, roleVariable+"="+role)})
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestStartReturnsOnceTheProgramSaysItIsReady(t *testing.T) {
	p := startRole(t, "good")
	assert.Contains(t, p.Logs(), readyLine)
	assert.True(t, p.Running())
	assert.Positive(t, p.ReadyAfter())
}

func TestStartPollsTheHealthAddressWhereOneIsGiven(t *testing.T) {
	address := Address(t)
	p := Start(t, Options{
		Binary: os.Args[0], HealthURL: "http://" + address,
		Env: []string{roleVariable + "=health", "HARNESS_TEST_ADDRESS=" + address},
	})
	assert.True(t, p.Running())
}

func TestRunTellsWhyAProgramDidNotStart(t *testing.T) {
	_, err := Run(t.Context(), Options{
		Binary: os.Args[0], Log: filepath.Join(t.TempDir(), "log"), Env: []string{roleVariable + "=falls"},
	})
	require.ErrorIs(t, err, errExited)
	assert.ErrorContains(t, err, "exit code 1")
	assert.ErrorContains(t, err, "cannot bind")
}

func TestRunGivesUpOnAProgramThatDoesNotBecomeReady(t *testing.T) {
	_, err := Run(t.Context(), Options{
		Binary: os.Args[0], Log: filepath.Join(t.TempDir(), "log"), Env: []string{roleVariable + "=good"},
		ReadyLine: "never said", ReadyWait: 50 * time.Millisecond,
	})
	require.ErrorIs(t, err, errNotReady)
}

func TestStopReturnsTheExitCode(t *testing.T) {
	exit, err := startRole(t, "good").Stop()
	require.NoError(t, err)
	assert.Equal(t, 3, exit.Code)
}

func TestKillTakesTheWholeGroup(t *testing.T) {
	p := startRole(t, "child")
	var child int
	_, err := fmt.Sscanf(p.Logs(), "child %d", &child)
	require.NoError(t, err)
	require.True(t, alive(child))

	exit := p.Kill()

	assert.Equal(t, -1, exit.Code)
	assert.False(t, p.Running())
	Await(t, 10*time.Second, "the grandchild to be gone", func() bool { return !running(child) })
}

// running is alive without the zombies, which nobody may be there to reap.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(state, []byte("Z"))
}

func TestUsageIsReadFromTheKernel(t *testing.T) {
	p := startRole(t, "busy")
	usage, err := p.Usage()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, usage.RSS, int64(64<<20))
	assert.GreaterOrEqual(t, usage.PeakRSS, usage.RSS)
	assert.Positive(t, usage.CPU)

	exit, err := p.Stop()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, exit.Usage.CPU, usage.CPU)
	assert.GreaterOrEqual(t, exit.Usage.PeakRSS, int64(64<<20))
}

func TestParseUsage(t *testing.T) {
	stat := []byte("42 (a) strange) name) S 1 42 42 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 9 0 100 0 0")
	usage, err := parseUsage(stat, []byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\n"))
	require.NoError(t, err)
	assert.Equal(t, Usage{CPU: 1750 * time.Millisecond, RSS: 1 << 20, Private: 512 << 10, PeakRSS: 2 << 20}, usage)

	_, err = parseUsage([]byte("42 (short) S 1"), nil)
	assert.Error(t, err)
}

func TestBuildOnceBuildsOnceForAllCallers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bin", "program")
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			assert.NoError(t, BuildOnce(path, dir, "sh", "-c", "echo built >>"+path))
		})
	}
	callers.Wait()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "built\n", string(text))
}

func TestBuildOnceTellsWhatFailed(t *testing.T) {
	dir := t.TempDir()
	err := BuildOnce(filepath.Join(dir, "program"), dir, "sh", "-c", "echo no compiler; exit 1")
	assert.ErrorContains(t, err, "no compiler")
	assert.Error(t, BuildOnce(filepath.Join(dir, "program"), dir, "true"), "a build that leaves nothing is a failure")
}

func TestBinaryIsTakenFromTheNamedDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(BinDirVariable, dir)
	_, err := FindBinary("pitwall")
	require.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pitwall"), nil, 0o700))
	assert.Equal(t, filepath.Join(dir, "pitwall"), Binary(t, "pitwall"))
}

func TestPeerIsFoundOrSkipped(t *testing.T) {
	assert.NotEmpty(t, Peer(t, "sh"))
	t.Run("absent", func(t *testing.T) {
		t.Setenv("CI", "")
		Peer(t, "no-such-program")
		t.Error("a test without its peer must not run on")
	})
}

func TestAddressesAreFreeAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		address := Address(t)
		assert.False(t, seen[address])
		seen[address] = true
		listener, err := net.Listen("tcp", address)
		require.NoError(t, err)
		listener.Close()
	}
}

func TestScaleIsAHundredthUnlessSet(t *testing.T) {
	for text, want := range map[string]float64{"": 0.01, "1": 1, "0.5": 0.5, "0": 0.01, "2": 0.01, "x": 0.01} {
		t.Setenv(ScaleVariable, text)
		assert.InDelta(t, want, Scale(), 1e-9, text)
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/pitwall-io/pitwall/examples/shop/internal/otlptest"
)

// The test binary plays the shop when it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("SHOP_PLAY") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestASignalEndsTheProcessWellWithEverythingDelivered(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			sink := otlptest.Start(t)
			self, err := os.Executable()
			require.NoError(t, err)
			command := exec.CommandContext(t.Context(), self, "-port", "0", "-rate", "200", "-endpoint", sink.Address,
				"-batch-every", "1h", "-metrics-every", "1h", "-progress-every", "500ms")
			command.Env = append(os.Environ(), "SHOP_PLAY=1")
			stdout, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())
			var last string
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				last = lines.Text()
				if strings.Contains(last, "requests/s") {
					_ = command.Process.Signal(sig)
				}
			}
			require.NoError(t, command.Wait(), "exit code 0")
			var requests, failed int
			_, err = fmt.Sscanf(last, "shop: stopped after %d requests, %d of them failed", &requests, &failed)
			require.NoError(t, err, last)
			assert.Zero(t, failed)
			assert.Len(t, sink.Spans(func(s otlptest.Span) bool { return s.Service() == "frontend" && len(s.ParentSpanId) == 0 }), requests)
		})
	}
}

func TestExitCodes(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":                {[]string{"-h"}, 0, "-truth-out"},
		"unknown flag":        {[]string{"-speed", "1"}, 2, "-speed"},
		"bad value":           {[]string{"-port", "-1"}, 2, "shop: port must be from 0 to 65500 (got -1)"},
		"bad fault":           {[]string{"-fault", "fire"}, 2, `unknown fault "fire"`},
		"extra argument":      {[]string{"now"}, 2, `unexpected argument "now"`},
		"cannot start":        {[]string{"-port", "0", "-truth-out", "/nowhere/t"}, 1, "truth-out"},
		"stopped by a signal": {[]string{"-port", "0", "-no-load", "-endpoint", "127.0.0.1:1"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			require.Equal(t, c.code, run(over, c.args, &out, &errOut), errOut.String())
			assert.Contains(t, errOut.String(), c.want)
		})
	}
}

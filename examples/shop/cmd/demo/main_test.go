// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestExitCodes(t *testing.T) {
	// Ports nobody uses, so that a demo that runs on this machine is no matter.
	for _, name := range []string{"PITWALL_OTLP_GRPC_ENDPOINT", "PITWALL_OTLP_HTTP_ENDPOINT", "PITWALL_API_ENDPOINT", "PITWALL_HEALTH_ENDPOINT"} {
		t.Setenv(name, "127.0.0.1:0")
	}
	t.Setenv("PITWALL_METRICS_PORT", "0")
	wanted := []string{"-collector", "/nowhere/pitwall", "-config", "demo.yaml", "-listen", "127.0.0.1:0", "-run-dir", t.TempDir()}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":           {[]string{"-h"}, 0, "-fault-after"},
		"unknown flag":   {[]string{"-speed", "1"}, 2, "-speed"},
		"no collector":   {nil, 2, "demo: collector must name"},
		"extra argument": {append(wanted, "now"), 2, `unexpected argument "now"`},
		"cannot start":   {wanted, 1, "/nowhere/pitwall"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			assert.Equal(t, c.code, run(t.Context(), c.args, &out, &errOut), errOut.String())
			assert.Contains(t, errOut.String(), c.want)
		})
	}
}

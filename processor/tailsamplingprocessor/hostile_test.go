// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

func hostileRequests(t *testing.T) (all []ptrace.Traces) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t), "fixtures", "otlp-badinput", "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(content) {
			if td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line); err == nil {
				all = append(all, td)
			}
		}
	}
	return all
}

func TestHostileRequestsLeaveGoodOnesAlone(t *testing.T) {
	hostile := hostileRequests(t)
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub("tail_sampling")
	require.NoError(t, err)
	for name, settings := range map[string]map[string]any{
		"every policy": func() map[string]any {
			m := sub.ToStringMap()
			delete(m, "block_on_overflow")
			delete(m, "explain")
			delete(m, "budget")
			return m
		}(),
		"keeping all": policies(keepAll),
	} {
		t.Run(name, func(t *testing.T) {
			clean, poisoned := &sink{}, &sink{}
			for _, out := range []*sink{clean, poisoned} {
				p := startSampler(t, settings, out)
				if out == poisoned {
					for _, td := range hostile {
						require.NoError(t, p.ConsumeTraces(t.Context(), td))
					}
				}
				require.NoError(t, p.ConsumeTraces(t.Context(), request(nil, numbers(1000, 1100)...)))
				if out == poisoned {
					for _, td := range hostile {
						require.NoError(t, p.ConsumeTraces(t.Context(), td))
					}
				}
				require.NoError(t, p.Shutdown(t.Context()))
			}
			var good []string
			for _, span := range poisoned.spans(t) {
				if strings.Contains(span, `"checkout"`) && strings.Contains(span, `"GET /"`) && strings.Contains(span, "https://example.com/scope") {
					good = append(good, span)
				}
			}
			assert.Equal(t, clean.spans(t), good)
		})
	}
}

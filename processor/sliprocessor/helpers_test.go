// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadata"
)

// newTestBase makes the shared part of a processor over an engine, without a host.
func newTestBase(t testing.TB, cfg *Config, engine *slo.Engine) *base {
	t.Helper()
	b, err := newBase(cfg, processortest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	require.NoError(t, b.use(engine))
	return b
}

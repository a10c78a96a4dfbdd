// SPDX-License-Identifier: Apache-2.0

package sliprocessor

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/pitwall-io/pitwall/extension/sloextension"
	"github.com/pitwall-io/pitwall/processor/sliprocessor/internal/metadata"
)

func load(t *testing.T, key string) *Config {
	t.Helper()
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	part, err := all.Sub(key)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, part.Unmarshal(cfg))
	return cfg
}

func TestConfigurations(t *testing.T) {
	cfg := load(t, "sli")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, &Config{Mode: ModeCount, MaxStreams: 100_000, MaxPoints: 500_000}, cfg)

	id := component.MustNewIDWithName("slo", "shop")
	cfg = load(t, "sli/all")
	require.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, &Config{Mode: ModeMark, SLO: &id, TrustInbound: true, MaxStreams: 100_000, MaxPoints: 500_000}, cfg)

	assert.EqualError(t, confmap.Validate(load(t, "sli/wrong")), `mode must be count, mark or merge (got "guess")`)
	assert.EqualError(t, confmap.Validate(&Config{Mode: ModeCount, MaxStreams: 1, MaxPoints: 999}), "max_points must be between 1000 and 100000000 (got 999)")
	assert.EqualError(t, confmap.Validate(&Config{Mode: ModeCount}), "max_streams must be between 1 and 10000000 (got 0)")
}

func TestTheProcessorRefusesToStartWithoutABook(t *testing.T) {
	factory := NewFactory()
	p, err := factory.CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), factory.CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	assert.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), "no slo extension is running")
	require.NoError(t, p.Shutdown(t.Context()))
}

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func TestTheFactoryMakesProcessorsThatCountInTheExtension(t *testing.T) {
	factory := sloextension.NewFactory()
	cfg := factory.CreateDefaultConfig().(*sloextension.Config)
	cfg.Objectives = []sloextension.ObjectiveConfig{{
		Name: "o", Target: 0.9, Indicator: sloextension.IndicatorConfig{Spans: &sloextension.SpansConfig{}},
	}}
	x, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.NewID(factory.Type()): x}}
	require.NoError(t, x.Start(t.Context(), h))

	sli, next := NewFactory(), consumertest.NewNop()
	traces, err := sli.CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), sli.CreateDefaultConfig(), next)
	require.NoError(t, err)
	logs, err := sli.CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), sli.CreateDefaultConfig(), next)
	require.NoError(t, err)
	metrics, err := sli.CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), sli.CreateDefaultConfig(), next)
	require.NoError(t, err)
	for _, c := range []component.Component{traces, logs, metrics} {
		require.NoError(t, c.Start(t.Context(), h))
	}
	td := ptrace.NewTraces()
	newSpan(td, "checkout", failed)
	require.NoError(t, traces.ConsumeTraces(t.Context(), td))
	require.NoError(t, logs.ConsumeLogs(t.Context(), plog.NewLogs()))
	require.NoError(t, metrics.ConsumeMetrics(t.Context(), pmetric.NewMetrics()))
	assert.InDelta(t, 1, x.(sloextension.Book).Statuses()[0].Bad, 0)
	for _, c := range []component.Component{traces, logs, metrics, x} {
		require.NoError(t, c.Shutdown(t.Context()))
	}
}

// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
)

func TestMachinesThatRunForNobodyAreReportedInMoney(t *testing.T) {
	host, board := withBoard()
	r := newRigOn(t, host, func(c *Config) { c.Telemetry.Enabled, c.Resources.Enabled, c.Resources.MaxGap = false, true, time.Hour })
	nobody := func(service, pod string) map[string]any {
		attrs := container(service, pod)
		delete(attrs, attrOwner)
		return attrs
	}
	run(t, r,
		levels(nobody("a", "pod-a"), map[string]float64{"k8s.container.cpu.request.desired": 3}),
		levels(nobody("b", "pod-b"), map[string]float64{"k8s.container.cpu.request.desired": 1}),
		levels(container("c", "pod-c"), map[string]float64{"k8s.container.cpu.request.desired": 9}),
		levels(map[string]any{"k8s.node.name": "node-1"}, map[string]float64{"k8s.node.cpu.allocatable": 20}),
	)
	assert.InDelta(t, 4*0.031611, emitted(r, "cost.unallocated", "cost.source")[" allocated"], 1e-9, "what is owned, and idle cost, is not in it")
	assert.InDelta(t, 4*0.031611, emitted(r, "cost.unallocated.resolvable", "cost.source", "cost.attribute")[" allocated service.name"], 1e-9)
	assert.InDelta(t, 4*0.031611, board.costsOf(t, "cost").Unallocated["allocated"].Total, 1e-9)
	r.stop(t)
}

func TestMoneyThatNobodyOwnsIsReportedWithWhatWouldResolveIt(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Telemetry.Prices = map[string]TelemetryPrice{"logs": {PerMillion: 1e6}}
		c.Cache.MaxResources = 3
	})
	for _, id := range []string{"1", "2", "1"} {
		require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed(id, "USD", may, 10, 5)))
	}
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "EUR", may, 1000)), "another currency")
	owned := billed("3", "USD", may, 1000)
	owned.ResourceMetrics().At(0).Resource().Attributes().PutStr(attrOwner, "me")
	require.NoError(t, r.pm.ConsumeMetrics(t.Context(), owned))
	r.pm.(*metricsProcessor).next = refusing{consumertest.NewNop()}
	require.Error(t, r.pm.ConsumeMetrics(t.Context(), billed("1", "USD", may, 1000)), "refused, so not counted")
	r.pm.(*metricsProcessor).next = r.metrics

	ld := plog.NewLogs()
	for _, service := range []string{"a", "b", "c", "d"} {
		logsOf(map[string]any{"service.name": service, "host.name": "h"}, 2).ResourceLogs().MoveAndAppendTo(ld.ResourceLogs())
	}
	require.NoError(t, r.pl.ConsumeLogs(t.Context(), ld))
	r.metrics.Reset()
	r.engine.emit(t.Context())
	assert.Equal(t, map[string]float64{" bill": 45, " telemetry": 8}, emitted(r, "cost.unallocated", "cost.source"))
	assert.Equal(t, map[string]float64{
		" bill cloud.account.id 2": 45, " telemetry host.name 1": 2, " telemetry service.name 1": 2,
	}, emitted(r, "cost.unallocated.resolvable", "cost.source", "cost.attribute", "cost.attribute.values"), "resources beyond the limit suggest nothing")
	r.stop(t)
}

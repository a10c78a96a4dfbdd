// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottldatapoint"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestConditionsHoldWithAndWithoutTheContextName(t *testing.T) {
	settings := componenttest.NewNopTelemetrySettings()
	span := ptrace.NewSpan()
	span.SetName("pay")
	record := plog.NewLogRecord()
	record.Body().SetStr("payment declined")
	point := pmetric.NewNumberDataPoint()
	point.Attributes().PutStr("code", "503")
	for _, test := range []struct {
		text string
		want bool
	}{{`name == "pay"`, true}, {`span.name == "cart"`, false}, {`IsRootSpan()`, true}} {
		c, err := ForSpans(test.text, settings)
		require.NoError(t, err)
		tc := ottlspan.NewTransformContextPtr(ptrace.NewResourceSpans(), ptrace.NewScopeSpans(), span)
		got, err := c.Eval(t.Context(), tc)
		tc.Close()
		require.NoError(t, err)
		assert.Equal(t, test.want, got, test.text)
	}
	logs, err := ForLogs(`IsMatch(body, "declined$")`, settings)
	require.NoError(t, err)
	lc := ottllog.NewTransformContextPtr(plog.NewResourceLogs(), plog.NewScopeLogs(), record)
	defer lc.Close()
	got, err := logs.Eval(t.Context(), lc)
	require.NoError(t, err)
	assert.True(t, got)
	points, err := ForPoints(`datapoint.attributes["code"] == "503"`, settings)
	require.NoError(t, err)
	pc := ottldatapoint.NewTransformContextPtr(pmetric.NewResourceMetrics(), pmetric.NewScopeMetrics(), pmetric.NewMetric(), point)
	defer pc.Close()
	got, err = points.Eval(t.Context(), pc)
	require.NoError(t, err)
	assert.True(t, got)
}

func TestNoTextIsNoCondition(t *testing.T) {
	settings := componenttest.NewNopTelemetrySettings()
	spans, err := ForSpans("", settings)
	require.NoError(t, err)
	assert.Nil(t, spans)
}

func TestAWrongConditionIsNamed(t *testing.T) {
	settings := componenttest.NewNopTelemetrySettings()
	_, err := ForSpans(`name ==`, settings)
	require.ErrorContains(t, err, `condition "name =="`)
	_, err = ForLogs(`resource.nothing == 1`, settings)
	require.Error(t, err)
	_, err = ForPoints(`span.name == "x"`, settings)
	require.Error(t, err)
}

// SPDX-License-Identifier: Apache-2.0

package openslo

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/slo"
)

func read(t testing.TB, name, text string) (Result, error) {
	t.Helper()
	documents, err := Split(Source{name, []byte(text)})
	if err != nil {
		return Result{}, err
	}
	return Read(documents)
}

func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	out := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Clean(name))
		require.NoError(t, err)
		out[name] = string(text)
	}
	return out
}

var (
	wantObjectives = regexp.MustCompile(`(?m)^# want objectives: (.*)$`)
	wantReason     = regexp.MustCompile(`(?m)^# want: (\d+): (.*)$`)
)

func TestTheSpecificationsExamplesLoad(t *testing.T) {
	for name, text := range files(t, "loads") {
		result, err := read(t, name, text)
		require.NoError(t, err, name)
		var got []string
		for _, d := range result.Definitions {
			got = append(got, fmt.Sprint(d.Name, " ", d.Target))
		}
		want := ""
		if m := wantObjectives.FindStringSubmatch(text); m != nil {
			want = m[1]
		}
		assert.Equal(t, want, strings.Join(got, ", "), name)
	}
}

// Every document that is refused says where and why. The files hold whole documents; the table changes one line of a good one.
func TestWrongDocumentsAreRefusedWithFileLineAndReason(t *testing.T) {
	for name, text := range files(t, "refused") {
		m := wantReason.FindStringSubmatch(text)
		require.NotNil(t, m, name)
		_, err := read(t, name, text)
		assert.ErrorContains(t, err, name+":"+m[1]+": "+m[2])
	}
	good, err := os.ReadFile(filepath.Join("testdata", "loads", "pitwall.yaml"))
	require.NoError(t, err)
	for _, c := range []struct{ from, to, want string }{
		{"apiVersion: openslo/v1\nkind: Service", "apiVersion: openslo/v2alpha\nkind: Service", ":3: Service checkout: apiVersion: must be openslo/v1"},
		{"kind: DataSource", "kind: BudgetAdjustment", ":11: kind: openslo/v1 knows the kinds DataSource, SLO, SLI"},
		{"metadata: {name: requests}", "metadata: {}", ":17: SLI: metadata.name is missing"},
		{"metadata: {name: requests}", "metadata: {name: requests, owner: me}", ":17: SLI: metadata.owner is unknown; known are name, displayName, labels, annotations"},
		{"metadata: {name: telemetry}", "metadata: {name: telemetry, labels: {-x: y}}", ":12: DataSource telemetry: metadata.labels.-x: a label's key"},
		{"metadata: {name: telemetry}", "metadata: {name: telemetry, annotations: {\"a b/c\": y}}", ":12: DataSource telemetry: metadata.annotations.a b/c: an annotation's key"},
		{"metadata: {name: telemetry}", "metadata: {name: telemetry, annotations: {pitwall.io/ownr: y}}", "metadata.annotations.pitwall.io/ownr is unknown; known here are none"},
		{"spec: {type: pitwall}\n", "spec: {}\n", ":13: DataSource telemetry: spec.type is missing"},
		{"    counter: true\n", "    counter: maybe\n", ":20: SLI requests: spec.ratioMetric.counter: must be true or false"},
		{"    total: {metricSource: *requests}\n", "", ":20: SLI requests: spec.ratioMetric.total is missing"},
		{"    counter: true\n", "    good: {metricSource: {type: x, spec: {}}}\n", "exactly one of good and bad must stand beside total"},
		{"    counter: true\n", "    raw: {metricSource: {type: x, spec: {}}}\n", "raw: cannot stand beside good, bad or total"},
		{"{metricSourceRef: telemetry, spec:", "{metricSourceRef: nowhere, spec:", `there is no DataSource "nowhere", and no type is given`},
		{"{metricSourceRef: telemetry, spec:", "{metricSourceRef: telemetry, type: x, spec:", "is x, and that of the DataSource telemetry is pitwall"},
		{"{metricSourceRef: telemetry, spec:", "{spec:", "type cannot be left out where no metricSourceRef says it"},
		{"metricSource: *requests", "metricSource: {type: pitwall, spec: {logs: {}}}", "the specs of good or bad and total must be the same"},
		{"indicatorRef: requests\n  timeWindow: [{duration: 1M", "indicatorRef: nothing\n  timeWindow: [{duration: 1M", `:31: SLO checkout-requests: there is no SLI "nothing"`},
		{"timeWindow: [{duration: 1M,", "timeWindow: [{duration: 1M, isRolling: true,", ":32: SLO checkout-requests: spec.timeWindow[0].isRolling: a rolling window has no calendar"},
		{"duration: 28d, isRolling: true", "duration: 28d", "isRolling: true or a calendar is missing"},
		{"duration: 28d, isRolling: true", "duration: 28d, isRolling: false", "a window that is not rolling needs a calendar"},
		{"duration: 28d, isRolling: true", "duration: 1M, isRolling: true", `needs a fixed length in m, h, d or w: months, quarters and years differ (got "1M")`},
		{"duration: 28d, isRolling: true", "duration: 28 d, isRolling: true", "must be a whole number and one of m, h, d, w, M, Q, Y"},
		{"duration: 28d, isRolling: true", "duration: 5m, isRolling: true", "window must be between 1h and 366d (got 5m)"},
		{"timeZone: Europe/Berlin", "timeZone: Europe/Bonn", `zone must be a name of the IANA time zone database such as Europe/Berlin (got "Europe/Bonn")`},
		{"startTime: 2026-01-01 00:00:00", "startTime: 2026-01-01T00:00:00Z", "start must be a wall-clock time"},
		{"budgetingMethod: Timeslices", "budgetingMethod: TimeSlices", `must be one of Occurrences, Timeslices, RatioTimeslices (got "TimeSlices")`},
		{"target: 0.995, timeSliceTarget: 0.9, ", "target: 0.995, ", ":34: SLO checkout-requests: spec.objectives[0].timeSliceTarget is missing"},
		{"timeSliceTarget: 0.9, timeSliceWindow: 5", "timeSliceTarget: 0.9", "spec.objectives[0].timeSliceWindow is missing"},
		{"timeSliceTarget: 0.9,", "timeSliceTarget: 1.5,", "must be in (0, 1] (got 1.5)"},
		{"timeSliceWindow: 5", "timeSliceWindow: 0.5", "time_slice_window must be whole minutes"},
		{"target: 0.995,", "target: 1,", "spec.objectives[0].target: must be in [0, 1) (got 1)"},
		{"target: 0.995,", "target: 0.995, targetPercent: 99.5,", "target is given too; only one of them may be"},
		{"target: 0.995,", "target: .nan,", "must be a number"},
		{"targetPercent: 95", "targetPercent: 100", "must be in [0, 100) (got 100)"},
		{"targetPercent: 95", "targetPercent: 95, target_percent: 95", "spec.objectives[0].target_percent is unknown"},
		{"[{op: lt, value: 300,", "[{op: lt,", "a thresholdMetric needs op and value"},
		{"[{op: lt, value: 300,", "[{op: le, value: 300,", `must be one of lte, gte, lt, gt (got "le")`},
		{"[{op: lt, value: 300, targetPercent: 95}]", "[{op: lt, value: 300, target: 0.9}, {op: lt, value: 400, target: 0.9}]", "with a thresholdMetric only one objective may be given (got 2)"},
		{"target: 0.99, indicatorRef", "target: 0.99, value: 4, indicatorRef", "value: has a meaning only with a thresholdMetric"},
		{"compositeWeight: 2.5", "compositeWeight: 0", "must be above 0 (got 0)"},
		{"service: shop\n", "service: shop\n  indicatorRef: requests\n", "an SLO has one indicator for all its objectives or, as a composite, one for each; this one has both"},
		{"indicatorRef: requests, compositeWeight: 2.5", "compositeWeight: 2.5", "spec.indicator or spec.indicatorRef is missing"},
		{"rawType: success, raw", "raw", "spec.ratioMetric.rawType is missing"},
		{"lookbackWindow: 3d", "lookbackWindow: 3d, unit: x", ":43: AlertCondition slow: spec.condition.unit is unknown"},
		{"op: gt, threshold: 1,", "op: gt, threshold: 1, kind: budget,", `must be one of burnrate (got "budget")`},
		{"op: gt, threshold: 1,", "op: gt, threshold: 0.5,", "burn must be in [1, 1000000]"},
		{"alertPolicyRef: wake-somebody", "alertPolicyRef: wake-nobody", `:36: SLO checkout-requests: there is no AlertPolicy "wake-nobody"`},
		{"conditionRef: fast", "conditionRef: faster", `AlertPolicy wake-somebody: there is no AlertCondition "faster"`},
		{"targetRef: pager", "targetRef: page", `there is no AlertNotificationTarget "page"`},
		{"conditions: [{conditionRef: fast}]", "conditions: [{conditionRef: fast}, {conditionRef: fast}]", "only one condition may be given (got 2)"},
		{"short-lookback-window: 5m", "short-lookback-window: 2h", "must be a duration below the lookbackWindow 1h"},
		{"spec: {target: opsgenie}", "spec: {}", "AlertNotificationTarget pager: spec.target is missing"},
		{"metadata: {name: latency}\n", "metadata: {name: latency}\n    kind: SLO\n", `kind: must be SLI here (got "SLO")`},
		{"metadata: {name: journey}", "metadata: {name: checkout-latency}", "there is one of this name at good.yaml:"},
		{"spec: {description: Sells}", "spec: {description: " + strings.Repeat("é", 1051) + "}", "may have up to 1050 characters (got 1051)"},
		{"spec: {description: Sells}", "spec: {description: Sells, description: Buys}", "description"},
		{"spec: {description: Sells}", "spec: [", "yaml:"},
		{"spec: {description: Sells}", "spec: nothing", "spec must be a mapping"},
	} {
		text := strings.Replace(string(good), c.from, c.to, 1)
		require.NotEqual(t, string(good), text, c.from)
		_, err := read(t, "good.yaml", text)
		assert.ErrorContains(t, err, c.want, "%s → %s", c.from, c.to)
		if err != nil {
			assert.Contains(t, err.Error(), "good.yaml:")
		}
	}
}

func TestDocumentsBecomeObjectives(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "loads", "pitwall.yaml"))
	require.NoError(t, err)
	result, err := read(t, "pitwall.yaml", string(text))
	require.NoError(t, err)
	require.Len(t, result.Definitions, 5)
	requests, latency, first, whole := result.Definitions[0], result.Definitions[1], result.Definitions[2], result.Definitions[4]

	assert.Equal(t, slo.Objective{
		Name: "checkout-requests", Service: "checkoutservice", Target: 0.995, Owner: "team-payments", Runbook: "https://runbooks.example.com/checkout",
		Calendar: &slo.Calendar{Start: "2026-01-01 00:00:00", Zone: "Europe/Berlin", Every: 1, Unit: slo.UnitMonth},
		Method:   slo.MethodTimeslices, TimeSliceTarget: 0.9, TimeSliceWindow: slo.Duration(5 * time.Minute),
		GroupBy: []string{"service.version", "http.route"}, MaxGroups: 50, Profile: requests.Profile,
	}, requests.Objective)
	assert.Equal(t, map[string]any{"spans": map[string]any{"kinds": []any{"server"}}}, requests.Spec)
	require.Len(t, requests.Profile.Rules, 2)
	assert.Equal(t, slo.Rule{
		Name: "fast", Severity: slo.SeverityPage, Long: slo.Duration(time.Hour), Short: slo.Duration(5 * time.Minute), For: slo.Duration(2 * time.Minute), Burn: 14.4,
	}, requests.Profile.Rules[0], "two windows, by the annotation")
	slow := requests.Profile.Rules[1]
	assert.Equal(t, slow.Long, slow.Short, "one window, as the specification has it")
	assert.Greater(t, slow.Burn, 1.0)
	assert.Equal(t, slo.SeverityTicket, slow.Severity)

	assert.Equal(t, "lt", latency.Op)
	assert.InDelta(t, 300, latency.Value, 0)
	assert.Nil(t, latency.Profile)
	assert.Equal(t, Position{"pitwall.yaml", 75}, latency.Position)

	assert.Equal(t, "journey/1", first.Name)
	assert.Equal(t, []slo.Component{{Objective: "journey/1", Weight: 2.5}, {Objective: "journey/2", Weight: 1}}, whole.Composite)

	var warnings []string
	for _, w := range result.Warnings {
		warnings = append(warnings, w.Error())
	}
	assert.Equal(t, []string{`pitwall.yaml:37: SLO checkout-requests: AlertCondition slow: severity "minor" is read as a ticket; page, critical, sev1 and p1 page`}, warnings)
}

func TestSourcesOfOtherVendorsAreListedAndSaidNotToBeComputable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "loads", "foo-slo.yaml"))
	require.NoError(t, err)
	result, err := read(t, "foo.yaml", string(text))
	require.NoError(t, err)
	assert.Equal(t, "metric source Datadog: nothing here can query it; only the type pitwall is measured from telemetry", result.Definitions[0].NotComputable)
	assert.Nil(t, result.Definitions[0].Spec)
	var all strings.Builder
	for _, w := range result.Warnings {
		fmt.Fprintln(&all, w)
	}
	for _, want := range []string{"budgetingMethod is missing and read as Occurrences", "timeWindow is missing and read as 30 rolling days", "objective foo-slo is listed, but has no data"} {
		assert.Contains(t, all.String(), want)
	}
	_, err = slo.New(slo.DefaultSettings(), []slo.Objective{result.Definitions[0].Objective})
	assert.NoError(t, err)
}

func FuzzNoDocumentPanics(f *testing.F) {
	for _, folder := range []string{"loads", "refused"} {
		names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
		require.NoError(f, err)
		for _, name := range names {
			text, err := os.ReadFile(filepath.Clean(name))
			require.NoError(f, err)
			f.Add(string(text))
		}
	}
	f.Add("a: &a [*a]\napiVersion: openslo/v1")
	f.Fuzz(func(t *testing.T, text string) {
		result, err := read(t, "x", text)
		if err != nil {
			return
		}
		for _, d := range result.Definitions {
			if d.Spec == nil {
				require.NoError(t, d.Validate())
			}
		}
	})
}

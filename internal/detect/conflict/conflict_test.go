// SPDX-License-Identifier: Apache-2.0

package conflict

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func deploy(tool, version string, at time.Time) detect.Change {
	return detect.Change{
		ID: tool + version, Kind: detect.Deployment, Time: at, Action: "deploy", State: "succeeded", Service: "checkout", Version: version, Tool: tool,
	}
}

func newDetector() *Detector { return New(Settings{MaxFields: 100, Cooldown: 10 * time.Minute}) }

func TestTwoActorsAgainstEachOtherAreAConflict(t *testing.T) {
	d := newDetector()
	d.ObserveChange(deploy("argocd", "2", t0))
	d.ObserveChange(deploy("flagger", "1", t0.Add(5*time.Minute)))
	said := d.Advance(t0.Add(6 * time.Minute))
	require.Len(t, said, 1)
	e := said[0].Envelope
	require.NoError(t, e.Validate())
	assert.Equal(t, signal.StateFiring, e.State)
	assert.Equal(t, "argocd,flagger", e.Action.Params["actors"])
	assert.Equal(t, []string{"argocd2", "flagger1"}, e.CausedBy)
	assert.Empty(t, d.Advance(t0.Add(7*time.Minute)), "said once")
	d.ObserveChange(deploy("argocd", "3", t0.Add(8*time.Minute)))
	again := d.Advance(t0.Add(9 * time.Minute))
	require.Len(t, again, 1)
	assert.Equal(t, e.ID, again[0].Envelope.ID)
	over := d.Advance(t0.Add(18*time.Minute + time.Second))
	require.Len(t, over, 1)
	assert.Equal(t, signal.StateResolved, over[0].Envelope.State)
	assert.Zero(t, d.Fill().Used)
}

func TestWhatIsNoConflict(t *testing.T) {
	for name, changes := range map[string][]detect.Change{
		"both say the same":      {deploy("github", "2", t0), deploy("flagger", "2", t0.Add(time.Minute))},
		"one actor":              {deploy("argocd", "1", t0), deploy("argocd", "2", t0.Add(time.Minute))},
		"long after":             {deploy("argocd", "1", t0), deploy("flagger", "2", t0.Add(11*time.Minute))},
		"seen in telemetry":      {deploy("argocd", "1", t0), deploy(detect.ToolTelemetry, "2", t0.Add(time.Minute))},
		"another service":        {deploy("argocd", "1", t0), func() detect.Change { c := deploy("flagger", "2", t0); c.Service = "cart"; return c }()},
		"failed":                 {deploy("argocd", "1", t0), func() detect.Change { c := deploy("flagger", "2", t0); c.State = "failed"; return c }()},
		"nobody says what it is": {deploy("argocd", "1", t0), deploy("flagger", "", t0)},
	} {
		d := newDetector()
		for _, c := range changes {
			d.ObserveChange(c)
		}
		assert.Empty(t, d.Advance(t0.Add(2*time.Minute)), name)
	}
}

func TestFlagsConflictToo(t *testing.T) {
	d := newDetector()
	for i, tool := range []string{"flagd", "plain"} {
		d.ObserveChange(detect.Change{ID: tool, Kind: detect.FeatureFlag, Time: t0, State: "succeeded", Flag: "new-cart", Variant: strconv.Itoa(i), Tool: tool})
	}
	said := d.Advance(t0)
	require.Len(t, said, 1)
	assert.Equal(t, "feature_flag.new-cart", said[0].Envelope.Action.Params["field"])
}

func TestFieldsAreBoundedAndConflictsStay(t *testing.T) {
	d := newDetector()
	d.ObserveChange(deploy("argocd", "1", t0))
	d.ObserveChange(deploy("flagger", "2", t0))
	for i := range 1000 {
		c := deploy("argocd", "1", t0.Add(time.Duration(i)*time.Millisecond))
		c.Service = strconv.Itoa(i)
		d.ObserveChange(c)
	}
	assert.Equal(t, 100, d.Fill().Used)
	assert.Len(t, d.Advance(t0.Add(time.Second)), 1)
}

func TestStateLivesThroughARestart(t *testing.T) {
	d := newDetector()
	d.ObserveChange(deploy("argocd", "1", t0))
	data, err := d.Snapshot()
	require.NoError(t, err)
	again := newDetector()
	require.NoError(t, again.Restore(data))
	again.ObserveChange(deploy("flagger", "2", t0.Add(time.Minute)))
	assert.Len(t, again.Advance(t0.Add(time.Minute)), 1)
	require.Error(t, again.Restore(data[1:]))
}

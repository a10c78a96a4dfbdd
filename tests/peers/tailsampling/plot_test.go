// SPDX-License-Identifier: Apache-2.0

package tailsampling

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
)

var update = flag.Bool("update", false, "note what is measured, and draw the plot anew")

const (
	measuredFile = "testdata/measured.json"
	plotFile     = "../../../processor/tailsamplingprocessor/comparison.svg"
)

// measured is what the plot shows.
type measured struct {
	// Memory is the heap that waiting spans hold, Cliff the share of traces with errors that come out whole under overload.
	Memory []memoryPoint `json:"memory,omitempty"`
	Cliff  []cliffPoint  `json:"cliff,omitempty"`
}

type memoryPoint struct {
	Spans   int     `json:"spans"`
	Contrib float64 `json:"contrib_mib"`
	This    float64 `json:"this_mib"`
}

type cliffPoint struct {
	Times   float64 `json:"times"`
	Contrib float64 `json:"contrib"`
	This    float64 `json:"this"`
}

func readMeasured(t *testing.T) (m measured) {
	data, err := os.ReadFile(measuredFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &m))
	return m
}

// note puts what was measured beside what was measured before, when the tests run with -update.
func (m measured) note(t *testing.T) {
	if !*update {
		return
	}
	all := readMeasured(t)
	if m.Memory != nil {
		all.Memory = m.Memory
	}
	if m.Cliff != nil {
		all.Cliff = m.Cliff
	}
	data, err := json.MarshalIndent(all, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(measuredFile, append(data, '\n'), 0o600))
}

// The heap grows with the number of waiting spans: sixteen times as fast with contrib's processor.
func TestHeapOfWaitingSpansBesideContrib(t *testing.T) {
	td := benchmarkRequest()
	var m measured
	for _, requests := range []int{10, 20, 40, 80, 120} {
		point := memoryPoint{Spans: requests * td.SpanCount()}
		for i, peer := range peers {
			p := create(t, peer.factory, map[string]any{
				"decision_wait": "10m", "policies": benchmarkPolicies, "drop_pending_traces_on_shutdown": true,
			}, consumertest.NewNop())
			before := heap()
			for n := range uint64(requests) {
				renumber(td, n+1)
				require.NoError(t, p.ConsumeTraces(t.Context(), td))
			}
			held := math.Round(float64(heap()-before)/(1<<20)*10) / 10
			require.NoError(t, p.Shutdown(context.Background()))
			if i == 0 {
				point.Contrib = held
			} else {
				point.This = held
			}
		}
		t.Logf("%7d spans wait: contrib %6.1f MiB, this %6.1f MiB", point.Spans, point.Contrib, point.This)
		m.Memory = append(m.Memory, point)
	}
	last := m.Memory[len(m.Memory)-1]
	assert.Less(t, last.This, last.Contrib/8)
	m.note(t)
}

func TestThePlotShowsWhatWasMeasured(t *testing.T) {
	want := draw(readMeasured(t))
	if *update {
		require.NoError(t, os.WriteFile(plotFile, []byte(want), 0o600))
	}
	have, err := os.ReadFile(plotFile)
	require.NoError(t, err)
	assert.Equal(t, want, string(have), "run the tests of this folder with -update")
}

const (
	contribColor, thisColor = "#b91c1c", "#1d4ed8"
	panelWidth, panelHeight = 330, 210
)

// panel is one of the two coordinate systems. xs and ys are from 0 to 1, upwards.
type panel struct {
	b    strings.Builder
	left int
}

func (p *panel) at(x, y float64) string {
	return fmt.Sprintf("%.1f,%.1f", float64(p.left)+x*panelWidth, 50+(1-y)*panelHeight)
}

func (p *panel) text(x, y float64, anchor, color, format string, args ...any) {
	xy := strings.Split(p.at(x, y), ",")
	fmt.Fprintf(&p.b, "<text x=%q y=%q text-anchor=%q fill=%q>%s</text>\n", xy[0], xy[1], anchor, color, fmt.Sprintf(format, args...))
}

func (p *panel) line(color string, points [][2]float64) {
	var at []string
	for _, xy := range points {
		at = append(at, p.at(xy[0], xy[1]))
	}
	fmt.Fprintf(&p.b, "<polyline fill=\"none\" stroke=%q stroke-width=\"2.5\" points=%q/>\n", color, strings.Join(at, " "))
	for _, xy := range at {
		c := strings.Split(xy, ",")
		fmt.Fprintf(&p.b, "<circle cx=%q cy=%q r=\"3.5\" fill=%q/>\n", c[0], c[1], color)
	}
}

func (p *panel) axes(title, below string) {
	const ink, grid = "#57606a", "#d0d7de"
	for _, y := range []float64{0, 0.25, 0.5, 0.75, 1} {
		a, b := strings.Split(p.at(0, y), ","), strings.Split(p.at(1, y), ",")
		fmt.Fprintf(&p.b, "<line x1=%q y1=%q x2=%q y2=%q stroke=%q/>\n", a[0], a[1], b[0], b[1], grid)
	}
	p.text(0, 1.12, "start", "#24292f", "%s", title)
	p.text(0.5, -0.2, "middle", ink, "%s", below)
}

func draw(m measured) string {
	const ink = "#57606a"
	memory, cliff := &panel{left: 60}, &panel{left: 480}
	memory.axes("Heap of waiting spans", "spans that wait, in thousands")
	last := m.Memory[len(m.Memory)-1]
	top := math.Ceil(last.Contrib/50) * 50
	var theirs, ours [][2]float64
	for _, p := range m.Memory {
		x := float64(p.Spans) / float64(last.Spans)
		theirs, ours = append(theirs, [2]float64{x, p.Contrib / top}), append(ours, [2]float64{x, p.This / top})
		memory.text(x, -0.09, "middle", ink, "%.0f", float64(p.Spans)/1000)
	}
	for _, y := range []float64{0, 0.5, 1} {
		memory.text(-0.02, y-0.02, "end", ink, "%.0f MiB", y*top)
	}
	memory.line(contribColor, theirs)
	memory.line(thisColor, ours)
	memory.text(0.8, last.Contrib/top, "end", contribColor, "contrib v0.160: %.0f MiB", last.Contrib)
	memory.text(0.95, last.This/top+0.05, "end", thisColor, "this: %.0f MiB", last.This)

	cliff.axes("Traces with errors that come out whole", "load, in multiples of num_traces / decision_wait")
	theirs, ours = nil, nil
	for i, p := range m.Cliff {
		x := float64(i) / float64(len(m.Cliff)-1)
		theirs, ours = append(theirs, [2]float64{x, p.Contrib}), append(ours, [2]float64{x, p.This})
		cliff.text(x, -0.09, "middle", ink, "%g", p.Times)
	}
	for _, y := range []float64{0, 0.5, 1} {
		cliff.text(-0.02, y-0.02, "end", ink, "%.0f %%", y*100)
	}
	cliff.line(contribColor, theirs)
	cliff.line(thisColor, ours)
	cliff.text(0.98, 0.05, "end", contribColor, "contrib v0.160")
	cliff.text(0.98, 0.91, "end", thisColor, "this")
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="840" height="330" viewBox="0 0 840 330" font-family="sans-serif" font-size="13" role="img">
<title>Memory and overload: contrib's tail_sampling beside this one</title>
<rect width="840" height="330" fill="#ffffff"/>
%s%s</svg>
`, memory.b.String(), cliff.b.String())
}

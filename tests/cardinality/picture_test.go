// SPDX-License-Identifier: Apache-2.0

package cardinality_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// line is one curve of the picture.
type line struct {
	expression, colour, dash, name string
}

const (
	plotWidth, plotHeight = 640.0, 170.0
	plotLeft              = 60.0
)

// draw makes the picture of the fold from what Prometheus stored: the series above, the total below.
func draw(t *testing.T, prom prometheus, from, to int64) string {
	t.Helper()
	var out strings.Builder
	out.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 480" font-family="sans-serif" font-size="12">` + "\n")
	out.WriteString(`<rect width="740" height="480" fill="white"/>` + "\n")
	plot(t, &out, prom, from, to, 30, "series of shop.page.views stored by Prometheus", []line{
		{`count(shop_page_views_total{view="raw"})`, "#c0392b", "", "without the limiter"},
		{`count(shop_page_views_total{view="folded"})`, "#1f618d", "", "with it"},
	})
	plot(t, &out, prom, from, to, 260, "their sum", []line{
		{`sum(shop_page_views_total{view="raw"})`, "#c0392b", "", "without the limiter"},
		{`sum(shop_page_views_total{view="folded"})`, "#1f618d", "6 6", "with it: the same"},
	})
	out.WriteString("</svg>\n")
	return out.String()
}

func plot(t *testing.T, out *strings.Builder, prom prometheus, from, to int64, top float64, title string, lines []line) {
	t.Helper()
	highest := 0.0
	traces := make([][]sample, 0, len(lines))
	for _, l := range lines {
		found := prom.trace(t, l.expression, from, to, time.Second)
		require.Len(t, found, 1, l.expression)
		for _, s := range found[0].samples {
			highest = max(highest, s.value)
		}
		traces = append(traces, found[0].samples)
	}
	fmt.Fprintf(out, `<text x="%.0f" y="%.0f" font-weight="bold">%s</text>`+"\n", plotLeft, top-8, title)
	fmt.Fprintf(out, `<path d="M%.0f %.0f V%.0f H%.0f" fill="none" stroke="#888"/>`+"\n", plotLeft, top, top+plotHeight, plotLeft+plotWidth)
	fmt.Fprintf(out, `<text x="%.0f" y="%.0f" text-anchor="end">%.0f</text><text x="%.0f" y="%.0f" text-anchor="end">0</text>`+"\n",
		plotLeft-6, top+8, highest, plotLeft-6, top+plotHeight)
	fmt.Fprintf(out, `<text x="%.0f" y="%.0f" text-anchor="end">%d s</text>`+"\n", plotLeft+plotWidth, top+plotHeight+16, (to-from)/1000)
	for i, l := range lines {
		points := make([]string, 0, len(traces[i]))
		for _, s := range traces[i] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", plotLeft+plotWidth*float64(s.at-from)/float64(to-from), top+plotHeight*(1-s.value/highest)))
		}
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", strings.Join(points, " "), l.colour, l.dash)
		fmt.Fprintf(out, `<text x="%.0f" y="%.0f" fill="%s">%s</text>`+"\n", plotLeft+12, top+20+16*float64(i), l.colour, l.name)
	}
}

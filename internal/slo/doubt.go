// SPDX-License-Identifier: Apache-2.0

package slo

import "time"

// doubts is how much of what an objective's histograms counted lies in the bucket that its threshold cuts: a compliance made from buckets
// is wrong by no more. It is a share, learned since the start, and needs no persistence.
type doubts struct{ series series }

func (e *Engine) doubtLocked(d doubt) {
	o := e.objectives[d.objective]
	if o.doubts == nil {
		o.doubts = &doubts{newSeries(newLayout(time.Minute, []time.Duration{time.Duration(o.Window)}, e.settings.MaxLateness))}
	}
	o.doubts.series.add(d.at, Counts{Good: d.sure, Bad: d.total - d.sure})
}

// thresholdError is the largest error that buckets may have put into the compliance of the objective's window; false where no histogram was
// read.
func (o *objective) thresholdError(at int64) (float64, bool) {
	if o.doubts == nil {
		return 0, false
	}
	return o.doubts.series.window(at, time.Duration(o.Window)).BadRatio()
}

// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"fmt"
	"testing"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

func BenchmarkObserve(b *testing.B) {
	d := New(Settings{MaxActive: 10_000, TTL: 24 * time.Hour, Allow: signal.NewAllowList()})
	alerts := make([]Alert, 1000)
	for i := range alerts {
		alerts[i] = page(t0)
		alerts[i].Objective = fmt.Sprint("o", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a := alerts[i%len(alerts)]
		a.Time = t0.Add(time.Duration(i) * time.Second)
		d.Observe(a)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}

// SPDX-License-Identifier: Apache-2.0

package signal

import "testing"

func BenchmarkMarshalCanonical(b *testing.B) {
	e := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.MarshalCanonical(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
}

func BenchmarkVerify(b *testing.B) {
	var chain Chain
	records := make([]Envelope, 1000)
	for i := range records {
		e := full()
		e.Update = i
		records[i], _ = chain.Append(e)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(records); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

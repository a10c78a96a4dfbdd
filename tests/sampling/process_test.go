// SPDX-License-Identifier: Apache-2.0

package sampling_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/recordings"
	"github.com/pitwall-io/pitwall/tests/harness"
	"github.com/pitwall-io/pitwall/tests/otlpload"
)

const (
	repetitions = 10
	rounds      = 3
	wait        = 5 * time.Second
)

const processConfig = `
receivers:
  otlp: {protocols: {grpc: {endpoint: %q}}}
processors:
  tail_sampling:
    decision_wait: %s
    policies:
      - {name: slow, type: latency, latency: {threshold_ms: 2000}}
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: some, type: probabilistic, probabilistic: {sampling_percentage: 2}}
exporters:
  otlp_grpc:
    endpoint: %q
    tls: {insecure: true}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp_grpc]}
`

// peer builds a collector whose manifest stands beside the differential tests.
func peer(t *testing.T, name string) string {
	t.Helper()
	root := harness.Root(t)
	path := filepath.Join(root, ".cache", "tailsampling-"+name, "otelcol-"+name)
	require.NoError(t, os.MkdirAll(filepath.Join(root, ".cache"), 0o750))
	require.NoError(t, harness.BuildOnce(path, root, "go", "tool", "-modfile=tools/go.mod", "builder",
		"--config", filepath.Join("tests", "peers", "tailsampling", "builder-"+name+".yaml")))
	return path
}

// cost is what a collector took to sample a load, and how much of it came out.
type cost struct {
	perCPUSecond float64
	peak         int64
	kept         int64
}

// Both collectors are made of the same parts but for the processor, get the same load in turn, and keep the same share of it.
func TestTheWholeProcessBesideContrib(t *testing.T) {
	harness.SkipUnlessProving(t, "builds two collectors and loads each for minutes")
	recording, err := otlpload.Read(recordings.Path(t, "trainticket", "traces.jsonl.gz"), otlpload.DefaultSpansPerRequest)
	require.NoError(t, err)
	costs := make(map[string][]cost)
	for round := range rounds {
		for _, name := range []string{"contrib", "pitwall"} {
			c := sample(t, peer(t, name), recording)
			t.Logf("round %d, %-8s %.0f spans per CPU second, peak %d MB, %d spans kept", round+1, name, c.perCPUSecond, c.peak>>20, c.kept)
			costs[name] = append(costs[name], c)
		}
	}
	median := func(name string) cost {
		c := slices.Clone(costs[name])
		slices.SortFunc(c, func(a, b cost) int { return int(a.perCPUSecond - b.perCPUSecond) })
		return c[len(c)/2]
	}
	theirs, ours := median("contrib"), median("pitwall")
	assert.InEpsilon(t, theirs.kept, ours.kept, 0.01, "both keep the same")
	assert.Greater(t, theirs.peak, 2*ours.peak)
	const command = "PITWALL_SCALE=1 go -C tests test -run TestTheWholeProcessBesideContrib -v ./sampling"
	figures.Record(t, figures.Figure{
		Table: "Tail sampling", Row: "whole process, TrainTicket ten times over: spans per CPU second", Command: command,
		Reached: fmt.Sprintf("%.0f, contrib %.0f: %.1f times", ours.perCPUSecond, theirs.perCPUSecond, ours.perCPUSecond/theirs.perCPUSecond), Wanted: "2.5 times",
	})
	figures.Record(t, figures.Figure{
		Table: "Tail sampling", Row: "whole process, the same: peak memory", Command: command,
		Reached: fmt.Sprintf("%d MB, contrib %d MB: 1/%.1f", ours.peak>>20, theirs.peak>>20, float64(theirs.peak)/float64(ours.peak)), Wanted: "1/4",
	})
}

func sample(t *testing.T, binary string, recording *otlpload.Recording) cost {
	sink, err := otlpload.Listen("127.0.0.1:0", false)
	require.NoError(t, err)
	defer sink.Close()
	endpoint := harness.Address(t)
	config := harness.WriteFile(t, "collector.yaml", fmt.Sprintf(processConfig, endpoint, wait, sink.Address()))
	collector := harness.Start(t, harness.Options{Binary: binary, Configs: []string{config}})
	result, err := otlpload.Sender{Endpoint: endpoint, Repeat: repetitions, Rate: rate()}.Send(t.Context(), recording)
	require.NoError(t, err)
	require.Zero(t, result.Failed, result)
	// Until everything is decided and nothing more comes.
	time.Sleep(wait + 3*time.Second)
	for before := int64(-1); before != sink.Counts().Spans; time.Sleep(2 * time.Second) {
		before = sink.Counts().Spans
	}
	usage, err := collector.Usage()
	require.NoError(t, err)
	kept := sink.Counts().Spans
	_, err = collector.Stop()
	require.NoError(t, err)
	return cost{float64(result.Acked) / usage.CPU.Seconds(), usage.PeakRSS, kept}
}

// rate is the load in spans a second; 0, the default, is as fast as it is taken.
func rate() float64 {
	v, err := strconv.ParseFloat(os.Getenv("PITWALL_RATE"), 64)
	if err != nil {
		return 0
	}
	return v
}

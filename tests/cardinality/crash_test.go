// SPDX-License-Identifier: Apache-2.0

package cardinality_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const (
	kills      = 100
	userLimit  = 10
	firstUsers = 200
)

// The collector that is killed holds the limiter. What it sends goes straight on, without a queue: a request is acknowledged once the
// next collector has it.
const limiterConfig = `
extensions:
  file_storage: {directory: %q}
receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
processors:
  cardinality:
    storage: file_storage
    limits: {attribute: %d, series: 100}
    window: 24h # who is admitted stays: what is measured is the crash
    displacement: 1000000
exporters:
  otlp_http:
    endpoint: http://%s
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
service:
  telemetry: {metrics: {level: none}}
  extensions: [file_storage]
  pipelines:
    metrics: {receivers: [otlp], processors: [cardinality], exporters: [otlp_http]}
`

// The collector behind it lives on, and Prometheus scrapes it.
const exposingConfig = `
receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
exporters:
  prometheus: {endpoint: %q, metric_expiration: 1h}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [otlp], exporters: [prometheus]}
`

// user is one counter and one histogram of the service under load; it only ever grows, unless its process restarts.
type user struct {
	name, route string
	start       pcommon.Timestamp
	count       int64
	buckets     [3]uint64
}

// shopper counts in memory and reports everything it counted, in each report again until it is acknowledged.
type shopper struct {
	url   string
	users []*user
	// truth is what was ever counted, by route; what a restarted counter had is in it.
	truth map[string]int64
	// issued and acked tell when the sum over all routes was known to be at most, and at least, so much downstream.
	mu            sync.Mutex
	issued, acked []sample
}

func (s *shopper) total() float64 {
	sum := int64(0)
	for _, n := range s.truth {
		sum += n
	}
	return float64(sum)
}

func (s *shopper) join(name string, n int64) {
	u := &user{name: name, route: fmt.Sprint("/", len(s.users)%3), start: pcommon.NewTimestampFromTime(time.Now())}
	s.users = append(s.users, u)
	s.count(u, n)
}

func (s *shopper) count(u *user, n int64) {
	u.count += n
	u.buckets[n%3] += uint64(n)
	s.truth[u.route] += n
}

// live is what happens between two reports. The users seen first are admitted; of the others, some restart.
func (s *shopper) live(r *rand.Rand) {
	// A restart comes right after a report: what a process counted and never reported nobody can know.
	if u := s.users[r.IntN(len(s.users))]; r.IntN(3) == 0 && !slices.Contains(s.users[:userLimit], u) {
		u.start, u.count, u.buckets = pcommon.NewTimestampFromTime(time.Now()), 0, [3]uint64{}
	}
	for range 50 {
		s.count(s.users[r.IntN(len(s.users))], r.Int64N(20))
	}
	if r.IntN(3) == 0 {
		s.join(fmt.Sprint("late-", len(s.users)), r.Int64N(20))
	}
}

func (s *shopper) report() ([]byte, error) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	counter, histogram := metrics.AppendEmpty(), metrics.AppendEmpty()
	counter.SetName("views")
	sum := counter.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	histogram.SetName("sizes")
	h := histogram.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	now := pcommon.NewTimestampFromTime(time.Now())
	for _, u := range s.users {
		dp, hp := sum.DataPoints().AppendEmpty(), h.DataPoints().AppendEmpty()
		for _, a := range []pcommon.Map{dp.Attributes(), hp.Attributes()} {
			a.PutStr("user", u.name)
			a.PutStr("route", u.route)
		}
		dp.SetStartTimestamp(u.start)
		dp.SetTimestamp(now)
		dp.SetIntValue(u.count)
		hp.SetStartTimestamp(u.start)
		hp.SetTimestamp(now)
		hp.ExplicitBounds().FromRaw([]float64{1, 2})
		hp.BucketCounts().FromRaw(u.buckets[:])
		hp.SetCount(uint64(u.count))
	}
	return pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
}

func (s *shopper) send(body []byte) bool {
	response, err := http.Post(s.url, "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx // a loopback address in a test
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

func (s *shopper) note(list *[]sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, sample{at: time.Now().UnixMilli(), value: s.total()})
}

// deliver sends one report until it is acknowledged.
func (s *shopper) deliver() {
	s.note(&s.issued)
	body, err := s.report()
	for err != nil || !s.send(body) {
		time.Sleep(2 * time.Millisecond)
	}
	s.note(&s.acked)
}

// latest is the last value noted up to a time.
func latest(list []sample, at int64) float64 {
	value := 0.0
	for _, s := range list {
		if s.at <= at {
			value = s.value
		}
	}
	return value
}

// A collector that is killed again and again, while a sender repeats what was not acknowledged, neither loses nor repeats nor takes
// back anything: Prometheus' increase() over all the crashes is what was counted, for kept series and for folded ones.
func TestKilledLimitersNeitherJumpNorGoBack(t *testing.T) {
	limiter, exposing := harness.Binary(t, "pitwall-sidecar"), harness.Binary(t, "pitwall")
	dir, in, between, exposed := t.TempDir(), harness.Address(t), harness.Address(t), harness.Address(t)
	harness.Start(t, harness.Options{
		Binary: exposing, Configs: []string{harness.WriteFile(t, "exposing.yaml", fmt.Sprintf(exposingConfig, between, exposed))},
	})
	config := harness.WriteFile(t, "limiter.yaml", fmt.Sprintf(limiterConfig, dir, in, userLimit, between))
	life := 0
	start := func() *harness.Process {
		life++
		return harness.Start(t, harness.Options{Binary: limiter, Configs: []string{config}, Log: filepath.Join(dir, fmt.Sprint(life, ".log"))})
	}
	prom := startPrometheus(t, map[string]string{"shop": exposed})

	collector := start()
	s := &shopper{url: "http://" + in + "/v1/metrics", truth: map[string]int64{}}
	for i := range firstUsers {
		s.join(fmt.Sprint("user-", i), 0)
	}
	s.deliver()
	const folded = `views_total{user="otel.cardinality_overflow"}`
	harness.Await(t, time.Minute, "the first scrape", func() bool { return len(prom.query(t, folded, 0)) == 3 })

	r := rand.New(rand.NewPCG(4, 2))
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
				s.live(r)
				s.deliver()
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	times := max(3, int(kills*harness.Scale()))
	moments := rand.New(rand.NewPCG(8, 8))
	for range times {
		time.Sleep(time.Duration(moments.IntN(300)) * time.Millisecond)
		collector.Kill()
		collector = start()
	}
	time.Sleep(200 * time.Millisecond)
	close(done)
	<-stopped

	truth := s.total()
	harness.Await(t, time.Minute, "the last scrape", func() bool {
		sum, ok := prom.one(t, "sum(views_total)", 0)
		return ok && sum == truth
	})
	check(t, prom, s, times)
	_, err := collector.Stop()
	require.NoError(t, err)
}

func check(t *testing.T, prom prometheus, s *shopper, times int) {
	t.Helper()
	counters := prom.query(t, `{__name__=~"views_total|sizes_bucket|sizes_count"}[1h]`, 0)
	from, to := int64(0), int64(0)
	sums := map[int64]float64{}
	views := 0
	for _, c := range counters {
		for i, x := range c.samples[1:] {
			require.GreaterOrEqual(t, x.value, c.samples[i].value, "%v goes back at %d", c.labels, x.at)
		}
		from, to = max(from, c.samples[0].at), max(to, c.samples[len(c.samples)-1].at)
		if c.labels["__name__"] == "views_total" {
			views++
			for _, x := range c.samples {
				sums[x.at] += x.value
			}
		}
	}
	require.Equal(t, userLimit+3, views, "the admitted users, and one folded series a route")
	scrapes := 0
	for at, sum := range sums {
		if at < from {
			continue
		}
		scrapes++
		require.GreaterOrEqual(t, sum, latest(s.acked, at), "what was acknowledged is missing at %d", at)
		require.LessOrEqual(t, sum, latest(s.issued, at+scrapeEvery.Milliseconds()), "more than was ever counted at %d", at)
	}
	// The window begins and ends with a sample: increase() has nothing to extrapolate.
	window := fmt.Sprintf("[%dms]", to-from)
	for _, metric := range []string{"views_total", "sizes_count", `sizes_bucket{le="+Inf"}`} {
		for route, want := range s.truth {
			expression := fmt.Sprintf("sum by (route) (increase(%s%s))", metric, window)
			found := false
			for _, x := range prom.query(t, expression, to) {
				if x.labels["route"] == route {
					found = true
					assert.InDelta(t, float64(want), x.samples[0].value, 1e-6*float64(want), "%s of %s", metric, route)
				}
			}
			require.True(t, found, expression)
		}
	}
	increase, _ := prom.one(t, "sum(increase(views_total"+window+"))", to)
	figures.Record(t, figures.Figure{
		Table:   "cardinality: crashes",
		Row:     fmt.Sprintf("%d times SIGKILL of the built binary under load, a sender that retries, a real Prometheus", times),
		Reached: fmt.Sprintf("increase() %.0f of %.0f counted; none of %d counters goes back; no jump in %d scrapes", increase, s.total(), len(counters), scrapes),
		Wanted:  "equal; none; none",
		Command: fmt.Sprintf("%s=%g go -C tests test -v -run Killed ./cardinality", harness.ScaleVariable, harness.Scale()),
	})
}

// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // collectors compress by default

	"github.com/pitwall-io/pitwall/tests/harness"
)

// collector is a process that runs one of the configurations we ship, under a name that lasts as the manifests have it. It may be killed and
// come back to its state.
type collector struct {
	t                         *testing.T
	name, binary, config, dir string
	env                       []string
	otlpGRPC, otlpHTTP        string
	api, health               string
	lives                     int
	process                   *harness.Process
}

// newCollector starts a collector; env is what its configuration needs beyond addresses of its own.
func newCollector(t *testing.T, name, binary, config string, env ...string) *collector {
	t.Helper()
	c := &collector{
		t: t, name: name, binary: harness.Binary(t, binary), config: filepath.Join(harness.Root(t), "configs", config), dir: t.TempDir(),
		otlpGRPC: harness.Address(t), otlpHTTP: harness.Address(t), api: harness.Address(t), health: harness.Address(t),
	}
	_, metricsPort, err := net.SplitHostPort(harness.Address(t))
	require.NoError(t, err)
	c.env = append([]string{
		"PITWALL_OTLP_GRPC_ENDPOINT=" + c.otlpGRPC,
		"PITWALL_OTLP_HTTP_ENDPOINT=" + c.otlpHTTP,
		"PITWALL_API_ENDPOINT=" + c.api,
		"PITWALL_HEALTH_ENDPOINT=" + c.health,
		"PITWALL_METRICS_PORT=" + metricsPort,
		"PITWALL_STATE_DIR=" + filepath.Join(c.dir, "state"),
	}, env...)
	c.start()
	return c
}

func (c *collector) start() {
	c.t.Helper()
	c.lives++
	c.process = harness.Start(c.t, harness.Options{
		Binary: c.binary, Configs: []string{c.config, "yaml:service::telemetry::resource::service.instance.id: '" + c.name + "'"}, Env: c.env, HealthURL: "http://" + c.health + "/health/status",
		Log: filepath.Join(c.dir, fmt.Sprintf("%s-%d.log", c.name, c.lives)),
	})
}

// counts are the events of one service.
type counts struct{ Good, Bad float64 }

// events is how many there are in a book.
func events(book map[string]counts) (n float64) {
	for _, c := range book {
		n += c.Good + c.Bad
	}
	return n
}

// book is what the collector says of the objective on requests, by service.
func (c *collector) book() map[string]counts {
	c.t.Helper()
	var answer struct {
		SLOs []struct {
			Name, Service string
			Good, Bad     float64
		} `json:"slos"`
	}
	read(c.t, "http://"+c.api+"/api/v1/slos", &answer)
	found := map[string]counts{}
	for _, s := range answer.SLOs {
		if s.Name == "availability" && s.Good+s.Bad > 0 {
			found[s.Service] = counts{s.Good, s.Bad}
		}
	}
	return found
}

// backend takes OTLP and keeps what tells whether anything is said twice.
type backend struct {
	address string

	mu     sync.Mutex
	events map[string]counts // slo.events by service
	alerts map[string]int    // by alert and state
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{address: harness.Address(t), events: map[string]counts{}, alerts: map[string]int{}}
	listener, err := net.Listen("tcp", b.address) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	server := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, &traceService{})
	pmetricotlp.RegisterGRPCServer(server, &metricService{b: b})
	plogotlp.RegisterGRPCServer(server, &logService{b: b})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return b
}

// total are the slo.events that came, by service.
func (b *backend) total() map[string]counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.events)
}

// told are the alerts that came, by service, rule and state, and how often.
func (b *backend) told() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.alerts)
}

type traceService struct {
	ptraceotlp.UnimplementedGRPCServer
}

func (traceService) Export(context.Context, ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	return ptraceotlp.NewExportResponse(), nil
}

type metricService struct {
	pmetricotlp.UnimplementedGRPCServer
	b *backend
}

func (s *metricService) Export(_ context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for _, rm := range r.Metrics().ResourceMetrics().All() {
		service, _ := rm.Resource().Attributes().Get("service.name")
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Name() == "slo.events" && m.Type() == pmetric.MetricTypeSum {
					s.b.add(service.AsString(), m.Sum().DataPoints())
				}
			}
		}
	}
	return pmetricotlp.NewExportResponse(), nil
}

func (b *backend) add(service string, points pmetric.NumberDataPointSlice) {
	for _, dp := range points.All() {
		n := dp.DoubleValue()
		if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
			n = float64(dp.IntValue())
		}
		c := b.events[service]
		if verdict, _ := dp.Attributes().Get("slo.verdict"); verdict.AsString() == "bad" {
			c.Bad += n
		} else {
			c.Good += n
		}
		b.events[service] = c
	}
}

type logService struct {
	plogotlp.UnimplementedGRPCServer
	b *backend
}

func (s *logService) Export(_ context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for _, rl := range r.Logs().ResourceLogs().All() {
		service, _ := rl.Resource().Attributes().Get("service.name")
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				if record.EventName() != "slo.alert" {
					continue
				}
				rule, _ := record.Attributes().Get("slo.alert")
				state, _ := record.Attributes().Get("slo.alert.state")
				s.b.alerts[service.AsString()+" "+rule.AsString()+" "+state.AsString()]++
			}
		}
	}
	return plogotlp.NewExportResponse(), nil
}

// said is one envelope that reached the receiver of signals.
type said struct {
	ID, Kind, State string
	Target          struct{ Service, Revision, Objective string }
	Audit           struct {
		Seq  uint64
		Hash string
	}
}

// signals is a receiver of CloudEvents.
type signals struct {
	mu  sync.Mutex
	all []said
	bad []string
}

func (s *signals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var event struct{ Data said }
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || event.Data.ID == "" {
		s.bad = append(s.bad, string(body))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.all = append(s.all, event.Data)
	w.WriteHeader(http.StatusAccepted)
}

// ids are the identities under which each thing was said.
func (s *signals) ids() map[string]map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]map[string]bool{}
	for _, one := range s.all {
		about := fmt.Sprintf("%s %s %s %s", one.Kind, one.Target.Service, one.Target.Revision, one.Target.Objective)
		if found[about] == nil {
			found[about] = map[string]bool{}
		}
		found[about][one.ID] = true
	}
	return found
}

// forked are the numbers of the ledger under which two different records were told.
func (s *signals) forked() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []uint64
	hashes := map[uint64]string{}
	for _, one := range s.all {
		if hash, known := hashes[one.Audit.Seq]; known && hash != one.Audit.Hash {
			found = append(found, one.Audit.Seq)
		}
		hashes[one.Audit.Seq] = one.Audit.Hash
	}
	return found
}

// shop is a stream of requests to a front end that calls checkout, of which two versions run; it knows what it made.
type shop struct {
	r     *rand.Rand
	truth map[string]counts
}

// requests returns n traces within a slice of event time. A rate above zero says that half of the requests go to a newer checkout, and which
// share of those fails.
func (s *shop) requests(from time.Time, n int, rate float64) ptrace.Traces {
	td := ptrace.NewTraces()
	for i := range n {
		at := from.Add(time.Duration(i) * slice / time.Duration(n))
		var id pcommon.TraceID
		for b := range id {
			id[b] = byte(s.r.Uint32())
		}
		version := "1"
		if rate > 0 && s.r.IntN(2) == 0 {
			version = "2"
		}
		fails := s.r.Float64() < 0.001 || version == "2" && s.r.Float64() < rate
		s.span(td, "frontend", "1", id, pcommon.SpanID{1}, pcommon.SpanID{}, at, false)
		s.span(td, "checkout", version, id, pcommon.SpanID{2}, pcommon.SpanID{1}, at, fails)
	}
	return td
}

func (s *shop) span(td ptrace.Traces, service, version string, trace pcommon.TraceID, id, parent pcommon.SpanID, at time.Time, fails bool) {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	rs.Resource().Attributes().PutStr("service.version", version)
	rs.Resource().Attributes().PutStr("service.instance.id", service+version)
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(trace)
	span.SetSpanID(id)
	span.SetParentSpanID(parent)
	span.SetName("POST /" + service)
	span.SetKind(ptrace.SpanKindServer)
	took := 20*time.Millisecond + time.Duration(s.r.ExpFloat64()*5e6)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(at.Add(-took)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
	c := s.truth[service]
	if fails {
		span.Status().SetCode(ptrace.StatusCodeError)
		c.Bad++
	} else {
		c.Good++
	}
	s.truth[service] = c
}

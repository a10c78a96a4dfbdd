// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const (
	// perSidecar are the requests that each sidecar gets in a slice.
	perSidecar = 20
	// failing is the share of the requests to the newer version that fail.
	failing = 0.9
	// pace is the time in which a slice passes.
	pace = 500 * time.Millisecond
)

// shippedFleet runs the configurations that we ship: two sidecars count, each sends to a gateway of its own, and one collector decides.
type shippedFleet struct {
	t                  *testing.T
	telemetry, decided *backend // what the gateways, and what the decider sends on
	receiver           *signals
	decider            *collector
	gateways, sidecars []*collector
	shop               *shop
	at                 time.Time // event time
}

func startFleet(t *testing.T, began time.Time) *shippedFleet {
	t.Helper()
	f := &shippedFleet{
		t: t, telemetry: newBackend(t), decided: newBackend(t), receiver: &signals{}, at: began.Truncate(slice),
		shop: &shop{r: rand.New(rand.NewPCG(3, 3)), truth: map[string]counts{}},
	}
	server := httptest.NewServer(f.receiver)
	t.Cleanup(server.Close)
	f.decider = newCollector(t, "decider", "pitwall", "decider.yaml",
		"PITWALL_BACKEND_ENDPOINT="+f.decided.address, "PITWALL_SIGNALS_ENDPOINT="+server.URL)
	for i := range 2 {
		gateway := newCollector(t, fmt.Sprint("gateway-", i), "pitwall", "gateway-fleet.yaml",
			"PITWALL_BACKEND_ENDPOINT="+f.telemetry.address, "PITWALL_DECIDER_ENDPOINT=http://"+f.decider.otlpHTTP)
		f.gateways = append(f.gateways, gateway)
		f.sidecars = append(f.sidecars, newCollector(t, fmt.Sprint("sidecar-", i), "pitwall-sidecar", "sidecar.yaml",
			"PITWALL_GATEWAY_ENDPOINT="+gateway.otlpGRPC))
	}
	return f
}

// send lets so many minutes of event time pass, with a newer version of which failing requests fail if rate is above zero. A slice takes no
// less than pause, so that the ways of both sidecars stay side by side.
func (f *shippedFleet) send(minutes int, rate float64, pause time.Duration) {
	f.t.Helper()
	for range minutes * int(time.Minute/slice) {
		for _, sidecar := range f.sidecars {
			body, err := ptraceotlp.NewExportRequestFromTraces(f.shop.requests(f.at, perSidecar, rate)).MarshalProto()
			require.NoError(f.t, err)
			post(f.t, "http://"+sidecar.otlpHTTP+"/v1/traces", body)
		}
		f.at = f.at.Add(slice)
		time.Sleep(pause)
	}
}

// fails reports whether the decider soon says that the newer version fails.
func (f *shippedFleet) fails() bool {
	return harness.Eventually(2*time.Second, func() bool {
		answer, _ := gate(f.t, f.decider.api)
		return answer == "fail"
	})
}

// kill ends all of it.
func (f *shippedFleet) kill() {
	for _, c := range append(append([]*collector{f.decider}, f.gateways...), f.sidecars...) {
		c.process.Kill()
	}
}

// booked reports whether the decider's book has no less than was sent.
func (f *shippedFleet) booked() bool {
	book := f.decider.book()
	for service, sent := range f.shop.truth {
		if c := book[service]; c.Good < sent.Good || c.Bad < sent.Bad {
			return false
		}
	}
	return true
}

// One fault, split between two gateways, is said once and judged once, though the decider is killed in the middle of it, and a gateway
// and a sidecar after that. The decider's book has every request once.
func TestShippedFleetHasOneBookAndSaysAFaultOnce(t *testing.T) {
	burn, verdict := "optimization.slo.burn checkout  availability", "optimization.canary.verdict checkout 2 "
	var f *shippedFleet
	for range 3 { // counts that a busy machine brings too late are left out: then it is tried again
		f = startFleet(t, time.Now().Add(-25*time.Minute))
		f.send(6, 0, pace/5)
		assert.Empty(t, f.receiver.ids(), "a signal without a fault")
		f.send(3, failing, pace)
		for range 6 {
			if f.fails() {
				break
			}
			f.send(1, failing, pace)
		}
		if f.fails() {
			break
		}
		f.kill()
	}
	require.True(t, f.fails(), "the decider has no verdict")
	harness.Await(t, time.Minute, "it is said that the budget burns", func() bool { return len(f.receiver.ids()[burn]) > 0 })
	harness.Await(t, time.Minute, "what was sent is in the decider's book", f.booked)
	require.Equal(t, f.shop.truth, f.decider.book())

	// The decider is killed as soon as it was told of something new: more of it is under way.
	before := f.decider.book()
	f.send(1, failing, pace)
	harness.Await(t, time.Minute, "the decider is told", func() bool { return !assert.ObjectsAreEqual(before, f.decider.book()) })
	f.decider.process.Kill()
	f.send(1, failing, pace)
	underWay := events(f.shop.truth) - events(before)
	f.decider.start()
	harness.Await(t, time.Minute, "what was sent meanwhile is in the decider's book", f.booked)
	doubled := events(f.decider.book()) - events(f.shop.truth)
	assert.LessOrEqual(t, doubled, underWay, "more is doubled than was under way when the decider was killed")

	f.gateways[0].process.Kill()
	f.sidecars[1].process.Kill()
	f.sidecars[1].start()
	f.send(1, failing, pace)
	f.gateways[0].start()
	harness.Await(t, time.Minute, "what was sent without a gateway is in the decider's book", f.booked)
	assert.InDelta(t, events(f.shop.truth)+doubled, events(f.decider.book()), 0, "the end of a gateway or a sidecar doubled something")

	harness.Await(t, time.Minute, "the decider stands by its verdict", f.fails)
	for _, gateway := range f.gateways {
		answer, reason := gate(t, gateway.api)
		assert.Equal(t, "inconclusive", answer)
		assert.Equal(t, "not_decider", reason)
		assert.Empty(t, gateway.book(), "a gateway has no book of its own")
	}
	ids := f.receiver.ids()
	delete(ids, "optimization.blind   ") // where a minute passes in seconds, a machine that is busy for as long is blind to it
	assert.Len(t, ids, 2, "the fault burns a budget, and its version gets a verdict: %v", ids)
	assert.Len(t, ids[burn], 1)
	assert.Len(t, ids[verdict], 1)
	assert.Empty(t, f.receiver.forked(), "the ledger went on after the kill")
	assert.Empty(t, f.receiver.bad)
	assert.Empty(t, f.telemetry.told(), "gateways do not alert")
	assert.Equal(t, 1, f.decided.told()["checkout page-1h firing"], "%v", f.decided.told())
	// What the backend adds up are the sidecars' own points, which the gateways pass on; the decider adds none.
	harness.Await(t, time.Minute, "the backend has all events", func() bool { return f.telemetry.total()["frontend"] == f.shop.truth["frontend"] })
	assert.Empty(t, f.decided.total())
	figures.Record(t, figures.Figure{
		Table: "Replicas", Row: "the shipped configurations: two sidecars, two gateways, a decider; SIGKILL of the decider, of a gateway and of a sidecar within a fault",
		Reached: fmt.Sprintf("%d signals with one id each; of %.0f events 0 lost from the book and %.0f doubled", len(ids), events(f.shop.truth), doubled),
		Wanted:  "one id a fault; doubled at most what was under way at the kill",
		Command: fmt.Sprintf("%s=%g go -C tests test -run ShippedFleet ./fleet", harness.ScaleVariable, harness.Scale()),
	})
}

// The gateway that was alone becomes one of many: the decider starts on its state.
func TestDeciderGoesOnWithTheBookOfALoneGateway(t *testing.T) {
	backend := newBackend(t)
	env := []string{"PITWALL_BACKEND_ENDPOINT=" + backend.address, "PITWALL_SIGNALS_ENDPOINT=http://" + harness.Address(t)}
	gateway := newCollector(t, "gateway", "pitwall", "gateway.yaml", env...)
	sidecar := newCollector(t, "sidecar", "pitwall-sidecar", "sidecar.yaml", "PITWALL_GATEWAY_ENDPOINT="+gateway.otlpGRPC)
	s := &shop{r: rand.New(rand.NewPCG(5, 5)), truth: map[string]counts{}}
	body, err := ptraceotlp.NewExportRequestFromTraces(s.requests(time.Now().Add(-time.Minute), 100, failing)).MarshalProto()
	require.NoError(t, err)
	post(t, "http://"+sidecar.otlpHTTP+"/v1/traces", body)
	_, err = sidecar.process.Stop() // it sends what it counted
	require.NoError(t, err)
	harness.Await(t, time.Minute, "the gateway has the book", func() bool { return assert.ObjectsAreEqual(s.truth, gateway.book()) })
	_, err = gateway.process.Stop()
	require.NoError(t, err)

	decider := newCollector(t, "decider", "pitwall", "decider.yaml", append(env, "PITWALL_STATE_DIR="+filepath.Join(gateway.dir, "state"))...)
	assert.Equal(t, s.truth, decider.book())
}

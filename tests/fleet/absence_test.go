// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// A decider that was away for minutes has the counts of meanwhile in its book. What its detectors were told too late is nobody's fault: no
// version fails and no budget burns.
func TestAbsenceOfTheDeciderIsNobodysFault(t *testing.T) {
	const (
		pace    = 200 * time.Millisecond
		healthy = 1e-9 // two versions, and none fails more than the other
	)
	f := startFleet(t, time.Now().Add(-25*time.Minute))
	f.send(2, 0, pace/5)
	f.send(3, healthy, pace)
	harness.Await(t, time.Minute, "what was sent is in the decider's book", f.booked)
	before := events(f.decider.book())
	f.decider.process.Kill()
	f.send(4, healthy, pace)
	for _, gateway := range f.gateways {
		assert.Equal(t, http.StatusOK, status(t, "http://"+gateway.health+"/health/status"), "a gateway is alive and ready without a decider")
	}
	f.decider.start()
	f.send(3, healthy, pace)
	harness.Await(t, time.Minute, "what was sent meanwhile is in the decider's book", f.booked)
	// The last delivery may have been answered by nobody.
	assert.LessOrEqual(t, events(f.decider.book())-events(f.shop.truth), before)

	answer, reason := gate(t, f.decider.api)
	assert.NotEqual(t, "fail", answer, reason)
	// Where a minute passes in a second, a machine that is busy for that long is blind to it.
	harmless := []string{"optimization.canary.verdict", "optimization.outcome", "optimization.blind"}
	for about := range f.receiver.ids() {
		kind, _, _ := strings.Cut(about, " ")
		assert.Contains(t, harmless, kind, about)
	}
	assert.Empty(t, f.decided.told(), "an alert without a fault")
}

func status(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Get(url) //nolint:noctx // a loopback address in a test
	require.NoError(t, err)
	defer response.Body.Close()
	return response.StatusCode
}

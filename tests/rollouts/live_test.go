// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/tests/harness"
)

// The settings of the live rollouts: those of a rollout that must be over in minutes, on a machine that is busy with other things.
const liveOptimizer = "{evaluation_interval: 2s, canary: {slice: 5s, lateness: 20s, warm_up: 5s}}"

const (
	// sideBySide is how many shops run at a time, watchFor how long a canary is watched that gets no verdict, patience how long one
	// that must get one.
	sideBySide = 5
	watchFor   = 2 * time.Minute
	patience   = 5 * time.Minute
)

// liveRollout is a canary of the real shop, in an environment of its own.
type liveRollout struct {
	environment string
	faulty      bool
	canary      string // the body that switches it on
	control     string
	switched    time.Time
}

// The canaries that are bad, and after them as many that are not.
var bad = []string{
	`"error_rate":0.1,"delay":"0s"`, `"error_rate":0.3,"delay":"0s"`, `"error_rate":0,"delay":"8ms"`, `"error_rate":0,"delay":"20ms"`, `"error_rate":0.1,"delay":"8ms"`,
}

func TestLiveRollouts(t *testing.T) {
	half := max(int(math.Ceil(5*harness.Scale())), 1)
	c := startCollector(t, liveOptimizer)
	var rollouts []*liveRollout
	for i := range 2 * half {
		x := &liveRollout{environment: "live-" + strconv.Itoa(i), faulty: i < half, canary: `"error_rate":0,"delay":"0s"`}
		if x.faulty {
			x.canary = bad[i]
		}
		rollouts = append(rollouts, x)
	}
	outcomes := map[*liveRollout]string{}
	for from := 0; from < len(rollouts); from += min(sideBySide, half) {
		roll(t, c, rollouts[from:min(from+min(sideBySide, half), len(rollouts))], outcomes)
	}
	count := map[string]int{}
	for _, x := range rollouts {
		count[fmt.Sprint(x.faulty, outcomes[x])]++
		assert.Equal(t, x.faulty, outcomes[x] == "fail", "%s %s: %s", x.environment, x.canary, outcomes[x])
	}
	row := func(name, reached, wanted string) {
		figures.Record(t, figures.Figure{Table: "Rollouts of the shop, live", Row: name, Reached: reached, Wanted: wanted, Command: command})
	}
	row("faulty canaries: fail, naming the version", fmt.Sprintf("%d of %d", count["truefail"], half), strconv.Itoa(half))
	row("healthy canaries, watched for two minutes: pass, not yet, fail", fmt.Sprintf("%d, %d, %d of %d", count["falsepass"], count["falseinconclusive"], count["falsefail"], half), "no fail")
}

// roll runs a few shops at a time and waits until each canary has its verdict, or for as long as it is watched.
func roll(t *testing.T, c *collector, rollouts []*liveRollout, outcomes map[*liveRollout]string) {
	var shops []*harness.Process
	for i, x := range rollouts {
		addresses := filepath.Join(t.TempDir(), "addresses.json")
		shops = append(shops, harness.Start(t, harness.Options{
			Binary: harness.Binary(t, "shop"),
			Args: []string{
				"-endpoint", c.endpoint, "-port", "0", "-addr-file", addresses, "-seed", strconv.Itoa(i + 1),
				"-environment", x.environment, "-rate", "30", "-start-hour", "14",
			},
			ReadyLine: "all services ready",
		}))
		text, err := os.ReadFile(filepath.Clean(addresses))
		require.NoError(t, err)
		var at map[string]string
		require.NoError(t, json.Unmarshal(text, &at))
		x.control = at["control"]
	}
	time.Sleep(15 * time.Second) // the version before must be there first, for longer than the warm-up
	for _, x := range rollouts {
		switchCanary(t, x)
	}
	limit := watchFor
	if rollouts[0].faulty {
		limit = patience
	}
	harness.Eventually(limit, func() bool {
		for _, e := range c.said() {
			for _, x := range rollouts {
				if e.Kind == signal.KindCanaryVerdict && e.Target.Environment == x.environment && e.Result.Value != signal.ResultInconclusive && outcomes[x] == "" {
					outcomes[x] = string(e.Result.Value)
					t.Logf("%s {%s}: %s after %s: %s", x.environment, x.canary, outcomes[x], time.Since(x.switched).Round(time.Second), e.Summary)
					assert.Equal(t, "checkout", e.Target.Service)
					assert.Equal(t, "1.5.0", e.Target.Revision)
				}
			}
		}
		for _, x := range rollouts {
			if outcomes[x] == "" {
				time.Sleep(time.Second) // the file is read whole
				return false
			}
		}
		return true
	})
	for _, x := range rollouts {
		if outcomes[x] == "" {
			outcomes[x] = string(signal.ResultInconclusive)
		}
	}
	for _, shop := range shops {
		_, err := shop.Stop()
		require.NoError(t, err)
	}
}

func switchCanary(t *testing.T, x *liveRollout) {
	t.Helper()
	body := `{"weight":50,"version":"1.5.0",` + x.canary + `}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+x.control+"/faults/canary", strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Less(t, response.StatusCode, 300)
	x.switched = time.Now()
}

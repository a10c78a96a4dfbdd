// SPDX-License-Identifier: Apache-2.0

package rollouts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pitwall-io/pitwall/internal/figures"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/tests/harness"
)

const command = "PITWALL_SCALE=1 go -C tests test ./rollouts"

// together is how many rollouts share a request.
const together = 10

// answer is what was said of one rollout.
type answer struct {
	// fails are the envelopes that blame a change, of the versions compared and of before and after.
	fails []signal.Envelope
	// canary is the first fail, passed the first pass, of the versions compared.
	canary, passed *signal.Envelope
	// revision is the version that the first fail names.
	revision string
}

// All rollouts happen in the same hour, each in a namespace of its own, and pass through one collector with default settings.
func TestResampledRollouts(t *testing.T) {
	scenarios := plan(max(int(math.Ceil(90*harness.Scale())), 18), rand.New(rand.NewPCG(2026, 1)))
	c := startCollector(t, "{}")
	answers, begin := resample(t, c, scenarios)

	found := map[bool]map[string]int{true: {}, false: {}} // by "is faulty"
	var toFail, toPass []time.Duration
	blamed, right := 0, 0
	for i := range scenarios {
		s, a := &scenarios[i], answers[scenarios[i].name]
		faulty := s.fault != benign
		switch {
		case len(a.fails) > 0:
			found[faulty]["fail"]++
		case a.passed != nil:
			found[faulty]["pass"]++
		default:
			found[faulty]["inconclusive"]++
		}
		if a.canary != nil {
			found[faulty]["canary"]++
		}
		if faulty && a.canary != nil {
			toFail = append(toFail, a.canary.UpdatedAt.Sub(begin)-aloneFor)
			assert.Equal(t, newVersion, a.revision, s.name)
		}
		if !faulty && a.passed != nil {
			toPass = append(toPass, a.passed.UpdatedAt.Sub(begin)-aloneFor)
		}
		if faulty {
			r, n := suspects(a)
			right, blamed = right+r, blamed+n
		}
		if faulty == (len(a.fails) == 0) {
			t.Logf("WRONG %+v: %d fails, passed %t", *s, len(a.fails), a.passed != nil)
			for _, e := range a.fails {
				t.Logf("  %s %s", e.Kind, e.Summary)
			}
		}
	}
	faults, harmless := sum(found[true]), sum(found[false])
	precision := float64(found[true]["fail"]) / float64(max(found[true]["fail"]+found[false]["fail"], 1))
	recall := float64(found[true]["fail"]) / float64(faults)
	row := func(name, reached, wanted string) {
		figures.Record(t, figures.Figure{Table: "Rollouts of the shop, resampled", Row: name, Reached: reached, Wanted: wanted, Command: command})
	}
	row("rollouts, of these faulty", fmt.Sprintf("%d, %d", len(scenarios), faults), "")
	row("precision: of those that were called bad, by comparison or by before and after, faulty", fmt.Sprintf("%.3f (%d of %d)", precision, found[true]["fail"], found[true]["fail"]+found[false]["fail"]), "at least 0.95")
	row("recall: of the faulty, called bad", fmt.Sprintf("%.3f (%d of %d)", recall, found[true]["fail"], faults), "at least 0.9")
	row("of these by the comparison of versions alone: faulty, benign called bad", fmt.Sprintf("%d of %d, %d of %d", found[true]["canary"], faults, found[false]["canary"], harmless), "")
	row("benign rollouts: pass, no verdict within 20 minutes", fmt.Sprintf("%d, %d of %d", found[false]["pass"], found[false]["inconclusive"], harmless), "")
	row("faulty rollouts that passed", strconv.Itoa(found[true]["pass"]), "0")
	row("the rollout is the first suspect, among three other changes", fmt.Sprintf("%.3f (%d of %d signals)", float64(right)/float64(max(blamed, 1)), right, blamed), "at least 0.9")
	row("median time from the new version's first request to fail, to pass", fmt.Sprintf("%s, %s", median(toFail), median(toPass)), "")

	small := 1.0 // below full size one in eighteen weighs too much
	if len(scenarios) < 90 {
		small = 0.85
	}
	assert.GreaterOrEqual(t, precision, 0.95*small)
	assert.GreaterOrEqual(t, recall, 0.9*small)
	assert.GreaterOrEqual(t, float64(right)/float64(max(blamed, 1)), 0.9*small)
	assert.Zero(t, found[true]["pass"], "a faulty version passed")
	assert.Positive(t, found[false]["pass"], "no harmless version passed")
}

// resample sends all rollouts, sorts what was said by rollout, and returns when they began.
func resample(t *testing.T, c *collector, scenarios []scenario) (map[string]*answer, time.Time) {
	rec := readRecording(t)
	epoch := time.Now().Add(-length - 5*time.Minute).Truncate(time.Minute)
	runs := make([]*resampler, len(scenarios))
	answers := map[string]*answer{}
	for i, s := range scenarios {
		runs[i] = newResampler(s, rec, epoch, uint64(i))
		answers[s.name] = &answer{}
	}
	spans := 0
	for since := time.Duration(0); since < length; since += slice {
		for batch := range slices.Chunk(runs, together) {
			td, ld, md := ptrace.NewTraces(), plog.NewLogs(), pmetric.NewMetrics()
			for _, x := range batch {
				x.next(since, td, ld, md)
			}
			spans += td.SpanCount()
			c.send(td, ld, md)
		}
	}
	t.Logf("%d spans", spans)
	said := c.stop()
	for i := range said {
		e := &said[i]
		a := answers[e.Target.Namespace]
		if a == nil || e.Result == nil || e.State == signal.StateResolved || e.State == signal.StateExpired {
			continue
		}
		compared := e.Kind == signal.KindCanaryVerdict
		switch {
		case !compared && e.Kind != signal.KindChangeRegression:
		case e.Result.Value == signal.ResultFail:
			if !slices.ContainsFunc(a.fails, func(f signal.Envelope) bool { return f.ID == e.ID }) {
				a.fails = append(a.fails, *e)
			}
			if compared && a.canary == nil {
				a.canary, a.revision = e, e.Target.Revision
			}
		case e.Result.Value == signal.ResultPass && a.passed == nil:
			a.passed = e
		}
	}
	return answers, epoch
}

// suspects counts the signals of one faulty rollout whose first suspect is the rollout.
func suspects(a *answer) (right, all int) {
	rollout := map[string]bool{}
	for i := range a.fails {
		if e := &a.fails[i]; e.Target.Service == "checkout" && e.Target.Revision == newVersion && len(e.CausedBy) > 0 {
			rollout[e.CausedBy[0]] = true
		}
	}
	for i := range a.fails {
		all++
		if e := &a.fails[i]; len(e.CausedBy) > 0 && rollout[e.CausedBy[0]] {
			right++
		}
	}
	return right, all
}

func sum(n map[string]int) int { return n["fail"] + n["pass"] + n["inconclusive"] }

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/pitwall-io/pitwall/internal/detect"
	"github.com/pitwall-io/pitwall/internal/signal"
)

func acting(id, service string) *detect.Candidate {
	return &detect.Candidate{
		Envelope: signal.Envelope{
			ID: id, Kind: "optimization.rightsize.container", Severity: signal.SeverityInfo, Target: signal.Target{Service: service},
			Action: signal.Action{Verb: "set_requests", Risk: signal.RiskLow}, Confidence: signal.Confidence{Value: 0.9},
		},
		Benefit: detect.Benefit{Money: 100},
	}
}

func by(change func(*detect.Candidate)) *detect.Candidate {
	c := acting("x", "s")
	change(c)
	return c
}

func TestScoreRisesWithBenefitAndConfidenceAndFallsWithRiskAndEffort(t *testing.T) {
	w := DefaultWeights()
	base := Score(w, acting("x", "s"))
	for name, c := range map[string]*detect.Candidate{
		"money":      by(func(c *detect.Candidate) { c.Benefit.Money = 101 }),
		"budget":     by(func(c *detect.Candidate) { c.Benefit.Budget = 0.01 }),
		"latency":    by(func(c *detect.Candidate) { c.Benefit.LatencySeconds = 0.01 }),
		"confidence": by(func(c *detect.Candidate) { c.Envelope.Confidence.Value = 0.91 }),
		"risk":       by(func(c *detect.Candidate) { c.Envelope.Action.Risk = signal.RiskNone }),
	} {
		assert.Greater(t, Score(w, c), base, name)
	}
	assert.Less(t, Score(w, by(func(c *detect.Candidate) { c.Effort = detect.EffortLow })), base)
	assert.Less(t, Score(w, by(func(c *detect.Candidate) { c.Envelope.Action.Risk = signal.RiskHigh })), base)
	assert.Positive(t, Score(w, by(func(c *detect.Candidate) { c.Benefit = detect.Benefit{Money: -5} })), "an unknown benefit still ranks")
}

func find(items []Item, id string) Item {
	for _, item := range items {
		if item.Candidate.Envelope.ID == id {
			return item
		}
	}
	return Item{}
}

func TestOneChangeInFlightForEachTarget(t *testing.T) {
	best, second, other := acting("best", "s"), acting("second", "s"), acting("other", "t")
	best.Benefit.Money = 200
	look := acting("look", "s")
	look.Envelope.Action.Verb = "investigate"
	items := Plan(DefaultWeights(), []*detect.Candidate{second, look, other, best}, nil)
	assert.Equal(t, "best", items[0].Candidate.Envelope.ID)
	assert.Empty(t, find(items, "best").Holder)
	assert.Equal(t, "best", find(items, "second").Holder)
	assert.Empty(t, find(items, "other").Holder)
	assert.Empty(t, find(items, "look").Holder, "looking changes nothing")

	held := map[string]string{TargetKey(second.Envelope.Target): "second"}
	items = Plan(DefaultWeights(), []*detect.Candidate{second, best}, held)
	assert.Equal(t, "second", find(items, "best").Holder, "what is in flight lands first")
	assert.Empty(t, find(items, "second").Holder)

	best.Reliability = true
	items = Plan(DefaultWeights(), []*detect.Candidate{second, best}, held)
	assert.Equal(t, "best", find(items, "second").Holder, "reliability does not wait for cost")
}

func TestCandidatesOfOneCauseAreOneSignal(t *testing.T) {
	a, b, c, page := acting("a", "s"), acting("b", "s"), acting("c", "t"), acting("page", "s")
	for _, x := range []*detect.Candidate{a, b, c, page} {
		x.Cause = "deploy-1"
	}
	a.Benefit.Money = 500
	page.Envelope.Severity = signal.SeverityPage
	items := Plan(DefaultWeights(), []*detect.Candidate{page, c, b, a}, nil)
	assert.Equal(t, []string{"b"}, find(items, "a").Supersedes)
	assert.Equal(t, "a", find(items, "b").MergedInto)
	assert.Empty(t, find(items, "c").MergedInto, "another target")
	assert.Empty(t, find(items, "page").MergedInto, "what wakes somebody is not taken into what does not")
}

func TestPlanDoesNotDependOnTheOrderGiven(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []*detect.Candidate
	for i := range 40 {
		c := acting(string(rune('A'+i)), string(rune('s'+i%3)))
		c.Cause = []string{"", "x", "y"}[i%3]
		c.Benefit.Money = float64(i % 5)
		all = append(all, c)
	}
	want := Plan(DefaultWeights(), all, nil)
	for range 20 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		assert.Equal(t, want, Plan(DefaultWeights(), all, nil))
	}
}

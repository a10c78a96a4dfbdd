// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/sampling"
)

// shared is what all pipelines with one component ID have in common: what was decided, and the logs that wait for decisions.
type shared struct {
	decisions *sampling.Decisions
	logs      *sampling.Logs
	// traces and users count processors, of traces pipelines and of all; guarded by groups.mu.
	traces, users int
}

// groups finds what is shared. A factory has one.
type groups struct {
	mu   sync.Mutex
	byID map[component.ID]*shared
}

// join makes a processor one of its ID. Whoever joined must leave.
func (g *groups) join(id component.ID, cfg *Config, traces bool) *shared {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.byID[id]
	if !ok {
		s = &shared{decisions: sampling.NewDecisions(cfg.remembered(), max(keptDetails, cfg.DecisionCache.SampledCacheSize))}
		s.logs = sampling.NewLogs(sampling.LogSettings{
			MemoryLimit: int64(cfg.Logs.MemoryLimitMiB) << 20, Wait: cfg.logWait(), KeepUndecided: cfg.Logs.Undecided == undecidedKeep,
		}, s.decisions)
		g.byID[id] = s
	}
	s.users++
	if traces {
		s.traces++
	}
	return s
}

// decides tells whether a traces pipeline has the ID.
func (g *groups) decides(s *shared) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return s.traces > 0
}

func (g *groups) leave(id component.ID, s *shared) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.users--; s.users == 0 && g.byID[id] == s {
		delete(g.byID, id)
	}
}

// logWait is how long log records wait: as long as a trace, whose spans may come later than its logs, and some.
func (c *Config) logWait() time.Duration {
	if c.Logs.Wait > 0 {
		return c.Logs.Wait
	}
	return c.DecisionWait + 10*time.Second
}

func (c *Config) remembered() int {
	return max(int(c.RememberedDecisions), c.DecisionCache.SampledCacheSize+c.DecisionCache.NonSampledCacheSize)
}

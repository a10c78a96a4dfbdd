// SPDX-License-Identifier: Apache-2.0

package optimizerconnector

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/detect"
)

// The topics on which the optimizer publishes what others read of it on the board.
const (
	topicOptimizer = "optimizer"
	topicChanges   = "changes"
)

// shownChanges bounds the changes on the board.
const shownChanges = 500

// report is what the optimizer says of itself: whether it decides here, and what event time it has reached.
type report struct {
	Decider   bool      `json:"decider"`
	EventTime time.Time `json:"event_time"`
	At        time.Time `json:"at"`
}

// publishReport renews the report, and shows the changes if there are new ones.
func (e *engine) publishReport(clock time.Time) {
	if e.board == nil {
		return
	}
	e.mu.Lock()
	now := e.now.inSilence(clock)
	var changes []detect.Change
	if e.changes.fresh {
		changes = e.changes.list()
		changes = slices.Clone(changes[max(len(changes)-shownChanges, 0):])
		e.changes.fresh = false
	}
	e.mu.Unlock()
	e.show(topicOptimizer, report{Decider: e.cfg.Decider, EventTime: now.UTC(), At: clock.UTC()})
	if changes != nil {
		e.show(topicChanges, changes)
	}
}

func (e *engine) show(topic string, what any) {
	body, err := json.Marshal(what)
	if err == nil {
		err = e.board.PublishSnapshot(topic, e.id.String(), body)
	}
	if err != nil {
		e.telemetry.OptimizerBoardErrors.Add(context.Background(), 1)
		e.log.Debug("the board does not show what the optimizer says", zap.String("topic", topic), zap.Error(err))
	}
}

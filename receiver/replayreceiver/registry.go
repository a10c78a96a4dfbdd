// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
)

// registry holds the player of each component ID: made for the first receiver that joins, released by the last that leaves.
type registry struct {
	mu      sync.Mutex
	players map[component.ID]*sharedPlayer
}

// sharedPlayer is a player and how many receivers have it.
type sharedPlayer struct {
	*player
	receivers int // guarded by registry.mu
}

func newRegistry() *registry {
	return &registry{players: map[component.ID]*sharedPlayer{}}
}

// join returns the receiver of one signal.
func (r *registry) join(set receiver.Settings, cfg *Config, s signal, consume consumeFunc) (*signalReceiver, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{ReceiverID: set.ID, Transport: "file", ReceiverCreateSettings: set})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	shared := r.players[set.ID]
	if shared == nil {
		p, err := newPlayer(cfg, set.TelemetrySettings)
		if err != nil {
			return nil, err
		}
		shared = &sharedPlayer{player: p}
		r.players[set.ID] = shared
	}
	shared.receivers++
	out := &sink{consume: consume, obs: obs}
	shared.expect(s, out)
	leave := sync.OnceFunc(func() { r.leave(set.ID, shared) })
	return &signalReceiver{player: shared.player, signal: s, leave: leave}, nil
}

func (r *registry) leave(id component.ID, shared *sharedPlayer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if shared.receivers--; shared.receivers == 0 {
		shared.close()
		delete(r.players, id)
	}
}

// signalReceiver is what the Collector sees: one receiver for each signal, all of them the same player.
type signalReceiver struct {
	player *player
	signal signal
	leave  func()
}

var (
	_ receiver.Traces  = (*signalReceiver)(nil)
	_ receiver.Metrics = (*signalReceiver)(nil)
	_ receiver.Logs    = (*signalReceiver)(nil)
)

// Start finds the files of this signal. Playing begins when every receiver that was made has been started.
func (r *signalReceiver) Start(_ context.Context, host component.Host) error {
	return r.player.start(r.signal, host) //nolint:contextcheck // playing outlives this call; Shutdown ends it
}

// Shutdown ends playing for all signals: the pipelines of the others may be gone next.
func (r *signalReceiver) Shutdown(ctx context.Context) error {
	defer r.leave()
	return r.player.stop(ctx)
}

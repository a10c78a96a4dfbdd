// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/receiver/replayreceiver/internal/timeline"
)

// pauseBetweenPasses is what lies between the last event of a pass and the first of the next, in the recording's own time.
const pauseBetweenPasses = time.Second

var (
	errNothingToPlay = errors.New("no signal has both files and a pipeline")
	errNothingPlayed = errors.New("nothing in the recording could be played")
)

// player plays one recording into the pipelines of up to three signals.
type player struct {
	cfg    *Config
	log    *zap.Logger
	score  *score
	pooled sync.Pool // of *[]byte: what the data of records lives in

	mu       sync.Mutex
	sinks    [len(signals)]*sink // fixed once playing has begun
	expected int                 // receivers that were made; guarded by mu
	started  int                 // receivers that were started; guarded by mu
	stopped  bool                // guarded by mu

	halt  context.CancelFunc // ends playing; nil until playing has begun; guarded by mu
	abort context.CancelFunc // ends the call into the pipeline under way; guarded by mu
	done  chan struct{}      // closed when playing has ended
}

func newPlayer(cfg *Config, set component.TelemetrySettings) (*player, error) {
	score, err := newScore(set)
	if err != nil {
		return nil, err
	}
	return &player{
		cfg:    cfg,
		log:    set.Logger,
		score:  score,
		pooled: sync.Pool{New: func() any { return new([]byte) }},
		done:   make(chan struct{}),
	}, nil
}

// expect tells of a receiver that will be started.
func (p *player) expect(s signal, out *sink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sinks[s] = out
	p.expected++
}

// start finds the files of one signal and, once every expected signal has come, begins to play.
func (p *player) start(s signal, host component.Host) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	files, err := findFiles(s, p.cfg.patterns(s))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		p.log.Warn("A pipeline is connected for which the recording has no files", zap.Stringer("signal", s))
	}
	p.sinks[s].files = files
	p.sinks[s].host = host
	if p.started++; p.started < p.expected || p.stopped {
		return nil
	}
	// Both contexts outlive this call; stop ends them. The second one lets the request under way finish.
	play, halt := context.WithCancel(context.Background())
	deliver, abort := context.WithCancel(context.Background())
	p.halt, p.abort = halt, abort
	go p.run(play, deliver)
	return nil
}

// stop ends playing and waits for the request under way; when ctx ends first, that request is told to give up.
func (p *player) stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	halt, abort := p.halt, p.abort
	p.mu.Unlock()
	if halt == nil {
		return nil
	}
	halt()
	defer abort()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the pipeline has not yet taken the request under way: %w", ctx.Err())
	}
}

// close releases what is left when every receiver is gone.
func (p *player) close() { p.score.close() }

// run plays the recording and tells how it ended.
func (p *player) run(play, deliver context.Context) {
	defer close(p.done)
	err := p.playAll(play, deliver)
	switch {
	case play.Err() != nil:
		p.log.Info("Replay was stopped before the end of the recording", p.score.totals()...)
	case err == nil:
		p.log.Info("The recording was played to its end", p.score.totals()...)
		p.report(func() *componentstatus.Event {
			return componentstatus.NewEvent(componentstatus.StatusOK, componentstatus.WithAttributes(p.score.attributes("finished")))
		})
	case p.cfg.OnError == OnErrorFatal:
		p.log.Error("Replay failed", append(p.score.totals(), zap.Error(err))...)
		p.report(func() *componentstatus.Event { return componentstatus.NewFatalErrorEvent(err) })
	default:
		p.log.Error("Replay ended without playing the recording", append(p.score.totals(), zap.Error(err))...)
		p.report(func() *componentstatus.Event { return componentstatus.NewPermanentErrorEvent(err) })
	}
}

// report sends a status event to the host of each receiver.
func (p *player) report(event func() *componentstatus.Event) {
	for _, out := range p.sinks {
		if out != nil {
			componentstatus.ReportStatus(out.host, event())
		}
	}
}

// playAll plays the recording once, or until it is stopped.
func (p *player) playAll(play, deliver context.Context) error {
	if !wait(play, p.cfg.StartAfter) {
		return nil
	}
	files, err := p.plan()
	if err != nil {
		return err
	}
	quiet := p.score.narrate(play, p.log, p.cfg.ProgressInterval)
	defer quiet()

	first := origin(files)
	base := p.cfg.base(first, time.Now())
	pass := &pass{
		player: p, play: play, deliver: deliver,
		files: files, origin: first,
		pace: timeline.NewPace(p.cfg.Speed, p.cfg.MaxGap),
	}
	p.log.Info("Playing the recording", zap.Int("files", len(files)), zap.Int64("bytes", p.score.total.Load()),
		zap.Time("first_event", time.Unix(0, first).UTC()), zap.Duration("shift", time.Duration(base)), zap.Float64("speed", p.cfg.Speed))
	for {
		pass.by = base
		if p.cfg.Rebase != rebaseOff {
			pass.by += pass.on
		}
		emitted := p.score.emittedRecords()
		if err := pass.run(); err != nil || play.Err() != nil {
			return err
		}
		p.score.passDone()
		if p.score.emittedRecords() == emitted {
			return errNothingPlayed
		}
		if !p.cfg.Loop {
			return nil
		}
		pass.on += pass.length()
		p.score.rewind()
	}
}

// base returns the constant that moves the first event to where Rebase wants it.
func (c *Config) base(first int64, now time.Time) int64 {
	if first == 0 {
		return 0
	}
	switch c.Rebase {
	case rebaseOff:
		return 0
	case rebaseNow:
		return now.UnixNano() - first
	default:
		at, _ := time.Parse(time.RFC3339Nano, c.Rebase) // Validate has seen to it
		return at.UnixNano() - first
	}
}

// plan gathers the files that have a pipeline, in the order in which they are opened, and accounts for those that have none.
func (p *player) plan() ([]*plannedFile, error) {
	var files []*plannedFile
	for _, s := range signals {
		if out := p.sinks[s]; out != nil {
			files = append(files, out.files...)
			continue
		}
		idle, err := findFiles(s, p.cfg.patterns(s))
		if err != nil {
			p.log.Warn("Files of a signal without a pipeline cannot be found", zap.Error(err))
		}
		if len(idle) > 0 {
			p.score.fileSkipped(s, reasonNoPipeline, int64(len(idle)))
			p.log.Warn("Files are not played: no pipeline of their signal uses this receiver", zap.Stringer("signal", s), zap.Int("files", len(idle)))
		}
	}
	if len(files) == 0 {
		return nil, errNothingToPlay
	}
	var bytes int64
	for order, f := range files {
		f.order = order
		f.scout(p.cfg.limits(), p.cfg.MaxGap)
		bytes += f.bytes
	}
	p.score.total.Store(bytes)
	sortFiles(files)
	return files, nil
}

// decoders returns how many requests are decoded at the same time.
func (p *player) decoders() int {
	if p.cfg.Decoders > 0 {
		return p.cfg.Decoders
	}
	return runtime.GOMAXPROCS(0)
}

// offer hands a request to its pipeline until it is taken or refused for good; false when playing was stopped first.
func (p *player) offer(play, deliver context.Context, r *record, by int64) bool {
	s := r.batch.signal
	out := p.sinks[s]
	items := r.batch.items
	ctx := out.begin(deliver, s)
	delay, degraded := p.cfg.Retry.InitialInterval, false
	for {
		err := out.consume(ctx, &r.batch)
		permanent := consumererror.IsPermanent(err)
		if degraded && (err == nil || permanent) {
			componentstatus.ReportStatus(out.host, componentstatus.NewEvent(componentstatus.StatusOK))
		}
		if err == nil {
			out.end(ctx, s, items, nil)
			p.score.emitted(s, r.batch.items)
			return true
		}
		left := r.batch.items
		kept := r.batch.keepFailed(err)
		if kept {
			p.score.emittedPart(s, left-r.batch.items)
		}
		if permanent {
			out.end(ctx, s, items, err)
			p.score.refused(s, r.batch.items)
			p.log.Warn("The pipeline refused a request for good", zap.Stringer("signal", s), zap.String("file", r.file.plan.path),
				zap.Stringer("at", r.Position), zap.Int("items", r.batch.items), zap.Error(err))
			return true
		}
		if !degraded && delay == p.cfg.Retry.MaxInterval {
			degraded = true
			p.log.Warn("The pipeline keeps refusing; replay waits for it", zap.Stringer("signal", s), zap.Error(err))
			componentstatus.ReportStatus(out.host, componentstatus.NewRecoverableErrorEvent(err))
		}
		if !wait(play, delay) {
			out.end(ctx, s, items, err)
			p.score.skipped(s, reasonShutdown)
			return false
		}
		delay = min(2*delay, p.cfg.Retry.MaxInterval)
		p.score.retried(s)
		if !kept {
			r.decode(by) // the pipeline may have changed what it then refused
		}
	}
}

// wait lets a time pass; false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

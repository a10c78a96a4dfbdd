// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver/internal/metadata"
)

// The outcomes of a file.
const (
	outcomeRead       = "read"
	outcomeRefused    = "refused"
	outcomeSuperseded = "superseded"
	outcomeExpired    = "expired"
)

var (
	_ receiver.Metrics = (*focusReceiver)(nil)

	refusedForGood = metric.WithAttributes(attribute.String("reason", "refused"))
)

// focusReceiver looks at a directory, reads each file once as it is, and emits what the bill changed by.
type focusReceiver struct {
	id     component.ID
	cfg    *Config
	logger *zap.Logger
	tel    *metadata.TelemetryBuilder
	next   consumer.Metrics
	now    func() time.Time

	// What follows belongs to the goroutine of run.
	store   *store
	bill    *focus.Bill
	files   map[string]fileState
	first   map[string]time.Time     // when a file from the future was first seen
	unsaved map[focus.Statement]bool // changed since the state was last stored
	pending *pending                 // what the next component has not accepted yet

	waiting atomic.Int64
	cancel  context.CancelFunc
	done    chan struct{}
}

// pending is a file that was read and whose changes are on their way out.
type pending struct {
	file     found
	plan     *focus.Plan
	content  content
	requests []pmetric.Metrics
	sent     int
	sum      []byte // of the requests that were sent
}

func newReceiver(set receiver.Settings, cfg *Config, next consumer.Metrics) (*focusReceiver, error) {
	tel, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	return &focusReceiver{id: set.ID, cfg: cfg, logger: set.Logger, tel: tel, next: next, now: time.Now, first: map[string]time.Time{}, unsaved: map[focus.Statement]bool{}}, nil
}

// Start restores what was read before and begins to look.
func (r *focusReceiver) Start(ctx context.Context, host component.Host) error {
	st, err := openStore(ctx, host, r.cfg, r.id)
	if err != nil {
		return err
	}
	r.store = st
	if r.files, r.bill, err = st.load(ctx, r.cfg); err != nil {
		return errors.Join(err, st.close(ctx))
	}
	if err := r.tel.RegisterFocusWaitingFilesCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(r.waiting.Load())
		return nil
	}); err != nil {
		return errors.Join(err, st.close(ctx))
	}
	if r.cfg.Storage == nil {
		r.logger.Warn("No storage: after a restart every file is read and emitted again")
	}
	loop, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go r.run(loop)
	return nil
}

// Shutdown stops looking. A file on its way out goes on after the next start; without storage it begins anew.
func (r *focusReceiver) Shutdown(ctx context.Context) error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	<-r.done
	r.cancel = nil
	r.tel.Shutdown()
	return r.store.close(ctx)
}

func (r *focusReceiver) run(ctx context.Context) {
	defer close(r.done)
	ticker := time.NewTicker(r.cfg.PollInterval)
	defer ticker.Stop()
	for {
		r.scan(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// scan looks at the directory once. Files are taken one after another, oldest first: what a later one replaces must be there before it.
func (r *focusReceiver) scan(ctx context.Context) {
	files, err := list(r.cfg)
	if err != nil {
		r.logger.Error("Directory cannot be read", zap.String("directory", r.cfg.Directory), zap.Error(err))
	}
	if err == nil {
		r.forget(files)
	}
	waiting := int64(0)
	defer func() { r.waiting.Store(waiting) }()
	if r.pending != nil && !r.deliver(ctx) {
		waiting = 1
		return
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return
		}
		if known, ok := r.files[f.name]; ok && known.Stamp == f.stamp {
			continue
		}
		if !r.settled(f) || !r.take(ctx, f) {
			waiting++
		}
		if r.pending != nil {
			return
		}
	}
}

// forget drops billing periods that are too old to be corrected, and files that are no longer there: if one comes back, it changes nothing.
func (r *focusReceiver) forget(files []found) {
	for _, s := range r.bill.Forget(r.now().Add(-r.cfg.Retention)) {
		r.unsaved[s] = true
	}
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f.name] = true
	}
	maps.DeleteFunc(r.files, func(name string, _ fileState) bool { return !there[name] })
	maps.DeleteFunc(r.first, func(name string, _ time.Time) bool { return !there[name] })
}

// settled says whether a file has been left alone for long enough.
func (r *focusReceiver) settled(f found) bool {
	now := r.now()
	since := f.stamp.Modified
	if since.After(now) {
		first, ok := r.first[f.name]
		if !ok {
			r.first[f.name] = now
			first = now
		}
		since = first
	}
	return now.Sub(since) >= r.cfg.Settle
}

// take reads one file and sends what it changes; false when it has to wait.
func (r *focusReceiver) take(ctx context.Context, f found) bool {
	delete(r.first, f.name)
	got, err := readFile(f.path, r.cfg)
	var refused *focus.Refused
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case errors.Is(err, focus.ErrIncomplete) && r.now().Sub(f.stamp.Modified) < r.cfg.GiveUp:
		return false
	case errors.As(err, &refused), errors.Is(err, focus.ErrIncomplete):
		r.refuse(ctx, f, err)
		return true
	case err != nil:
		r.logger.Warn("File cannot be read; it is tried again", zap.String("file", f.name), zap.Error(err))
		return false
	}
	if info, err := os.Stat(f.path); err != nil || info.Size() != f.stamp.Size || !info.ModTime().Equal(f.stamp.Modified) {
		return false // it changed while it was read
	}
	expired := len(got.portion)
	cutoff := r.now().Add(-r.cfg.Retention)
	maps.DeleteFunc(got.portion, func(s focus.Statement, _ focus.Cells) bool { return s.End.Before(cutoff) })
	if expired > 0 && len(got.portion) == 0 {
		r.logger.Info("File is older than the retention and is not read", zap.String("file", f.name))
		r.finish(ctx, f, outcomeExpired, nil)
		return true
	}
	gone := func(name string) bool {
		_, err := os.Stat(filepath.Join(r.cfg.Directory, filepath.FromSlash(name)))
		return errors.Is(err, fs.ErrNotExist)
	}
	plan := r.bill.Plan(focus.File{Path: f.name, Delivery: r.cfg.Delivery.of(f.name), Modified: f.stamp.Modified}, got.portion, gone)
	r.pending = &pending{file: f, plan: plan, content: got, requests: requests(r.cfg, plan.Changes)}
	if err := r.store.resume(ctx, r.pending); err != nil {
		r.logger.Warn("How far this file was sent is not known; it is sent from its beginning", zap.String("file", f.name), zap.Error(err))
	}
	return r.deliver(ctx)
}

// deliver sends what is left of the pending file and commits it; false when the next component refuses for now. Requests that were
// accepted are not sent again.
func (r *focusReceiver) deliver(ctx context.Context) bool {
	p := r.pending
	for p.sent < len(p.requests) {
		points := int64(p.requests[p.sent].DataPointCount())
		out := pmetric.NewMetrics()
		p.requests[p.sent].CopyTo(out)
		if err := r.next.ConsumeMetrics(ctx, out); err != nil {
			if !consumererror.IsPermanent(err) {
				r.tel.FocusSendFailures.Add(ctx, 1)
				r.logger.Warn("Costs were refused; they are sent again", zap.String("file", p.file.name), zap.Error(err))
				return false
			}
			r.tel.FocusDroppedPoints.Add(ctx, points, refusedForGood)
			r.logger.Error("Costs were refused for good and are lost", zap.String("file", p.file.name), zap.Int64("points", points), zap.Error(err))
		} else {
			r.tel.FocusPoints.Add(ctx, points)
		}
		if err := r.store.advance(context.WithoutCancel(ctx), p); err != nil {
			r.tel.FocusStateFailures.Add(ctx, 1)
			r.logger.Error("State cannot be stored; a restart now would send this file again", zap.String("file", p.file.name), zap.Error(err))
		}
	}
	r.pending = nil
	r.bill.Commit(p.plan)
	outcome := outcomeRead
	if len(p.plan.Touched) == 0 && len(p.plan.Superseded) > 0 {
		outcome = outcomeSuperseded
	}
	r.finish(ctx, p.file, outcome, p.plan.Touched)
	r.tel.FocusRows.Add(ctx, int64(p.content.report.Rows))
	r.tel.FocusOverflowRows.Add(ctx, int64(p.content.overflow))
	for _, finding := range p.content.report.Findings {
		r.tel.FocusFindings.Add(ctx, int64(finding.Rows), metric.WithAttributes(attribute.String("rule", finding.Rule)))
	}
	r.log(p, outcome)
	return true
}

func (r *focusReceiver) log(p *pending, outcome string) {
	report := &p.content.report
	r.logger.Info("Bill read", zap.String("file", p.file.name), zap.String("outcome", outcome), zap.Stringer("focus", report.Version),
		zap.Int("rows", report.Rows), zap.Int("changes", len(p.plan.Changes)), zap.Int("rules_broken", len(report.Findings)),
		zap.Stringer("billed", report.Totals[focus.Billed]), zap.Stringer("effective", report.Totals[focus.Effective]),
		zap.Stringer("contracted", report.Totals[focus.Contracted]), zap.Stringer("list", report.Totals[focus.List]))
	for _, f := range report.Findings {
		r.logger.Info("Rule of FOCUS broken", zap.String("file", p.file.name), zap.String("rule", f.Rule), zap.Int("rows", f.Rows),
			zap.Int("line", f.Line), zap.Int("column", f.Column))
	}
}

func (r *focusReceiver) refuse(ctx context.Context, f found, err error) {
	r.logger.Error("File refused: nothing of it is counted; it is looked at again when it changes", zap.String("file", f.name), zap.Error(err))
	r.finish(ctx, f, outcomeRefused, nil)
}

// finish remembers what became of a file.
func (r *focusReceiver) finish(ctx context.Context, f found, outcome string, touched []focus.Statement) {
	r.files[f.name] = fileState{f.stamp, outcome}
	r.tel.FocusFiles.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	for _, s := range touched {
		r.unsaved[s] = true
	}
	if err := r.store.save(context.WithoutCancel(ctx), r.cfg, r.files, r.bill, slices.Collect(maps.Keys(r.unsaved))); err != nil {
		r.tel.FocusStateFailures.Add(ctx, 1)
		r.logger.Error("State cannot be stored; it is tried again with the next file", zap.Error(err))
		return
	}
	clear(r.unsaved)
}

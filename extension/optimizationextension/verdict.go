// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pitwall-io/pitwall/internal/signal"
)

const (
	schemaVerdict = "pitwall.verdict/v1"
	schemaChanges = "pitwall.changes/v1"
)

// Why a verdict is inconclusive, beside the reasons that detectors give.
const (
	reasonNotDecider = "not_decider"
	reasonStale      = "stale"
	reasonNoVerdict  = "no_verdict"
	reasonEnded      = "ended"
	reasonExpired    = "expired"
	reasonBlocked    = "blocked"
	reasonAmbiguous  = "ambiguous"
)

// staleAfter is how long an optimizer may not have been heard before what it said last holds no more.
const staleAfter = time.Minute

// verdictData is an answer that rollout tools read. It is pass only if nothing at all speaks against it.
type verdictData struct {
	Verdict   signal.ResultValue `json:"verdict"`
	Reason    string             `json:"reason,omitempty"`
	Service   string             `json:"service"`
	Revision  string             `json:"revision"`
	Signal    string             `json:"signal,omitempty"`
	Summary   string             `json:"summary,omitempty"`
	BlockedBy []string           `json:"blocked_by,omitempty"`
	ExpiresAt *time.Time         `json:"expires_at,omitempty"`
}

// serveVerdict answers for one revision of one service: pass, fail or inconclusive with a reason. All three are answers; only a
// question that cannot be understood is an error.
func (e *optimizationExtension) serveVerdict(w http.ResponseWriter, r *http.Request) {
	asked := signal.Target{Service: r.PathValue("service")}
	for name, given := range r.URL.Query() {
		switch {
		case len(given) != 1:
			e.fail(w, http.StatusBadRequest, name+" must be given once")
			return
		case name == "revision":
			asked.Revision = given[0]
		case name == "namespace":
			asked.Namespace = given[0]
		case name == "environment":
			asked.Environment = given[0]
		default:
			e.fail(w, http.StatusBadRequest, "parameters are revision, namespace and environment")
			return
		}
	}
	if asked.Revision == "" {
		e.fail(w, http.StatusBadRequest, "revision must be given: a verdict is about one revision")
		return
	}
	e.answer(w, http.StatusOK, struct {
		Schema string      `json:"schema"`
		Data   verdictData `json:"data"`
	}{schemaVerdict, e.verdict(asked)})
}

// optimizerReport is what an optimizer connector publishes about itself, on the topic "optimizer".
type optimizerReport struct {
	Decider   bool      `json:"decider"`
	EventTime time.Time `json:"event_time"`
	At        time.Time `json:"at"`
}

func (e *optimizationExtension) verdict(asked signal.Target) verdictData {
	answer := verdictData{Verdict: signal.ResultInconclusive, Service: asked.Service, Revision: asked.Revision}
	decider, reason := e.decider()
	if reason != "" {
		answer.Reason = reason
		return answer
	}
	found, total := e.store.Find(maxLimit, func(s *signal.Envelope) bool {
		return s.Kind == signal.KindCanaryVerdict && s.Target.Service == asked.Service && s.Target.Revision == asked.Revision &&
			(asked.Namespace == "" || s.Target.Namespace == asked.Namespace) &&
			(asked.Environment == "" || s.Target.Environment == asked.Environment)
	})
	if total == 0 {
		answer.Reason = reasonNoVerdict
		return answer
	}
	// Found are those updated last first: of each namespace and environment only the newest speaks.
	type place struct{ namespace, environment string }
	seen := map[place]bool{}
	var answers []verdictData
	for i := range found {
		at := place{found[i].Target.Namespace, found[i].Target.Environment}
		if seen[at] {
			continue
		}
		seen[at] = true
		answers = append(answers, judged(answer, &found[i], decider.EventTime))
	}
	if len(answers) == 1 {
		return answers[0]
	}
	// The same revision runs in several places and the question did not say which: a failure anywhere is one, a pass must be one everywhere.
	slices.SortStableFunc(answers, func(a, b verdictData) int { return cmp.Compare(caution(a.Verdict), caution(b.Verdict)) })
	first := answers[0]
	if first.Verdict == signal.ResultInconclusive && first.Reason == "" {
		first.Reason = reasonAmbiguous
	}
	return first
}

func caution(v signal.ResultValue) int {
	switch v {
	case signal.ResultFail:
		return 0
	case signal.ResultInconclusive:
		return 1
	default:
		return 2
	}
}

// judged takes a verdict signal for an answer as far as it still holds.
func judged(answer verdictData, s *signal.Envelope, eventTime time.Time) verdictData {
	answer.Signal, answer.Summary, answer.BlockedBy = s.ID, s.Summary, s.Guardrails.BlockedBy
	expires := s.ExpiresAt.UTC()
	answer.ExpiresAt = &expires
	switch {
	case s.State == signal.StateExpired || !s.ExpiresAt.After(eventTime):
		answer.Reason = reasonExpired
	case s.State.Ended():
		answer.Reason = reasonEnded
	case s.Result == nil:
		answer.Reason = reasonNoVerdict
	case s.Result.Value == signal.ResultFail:
		// A failure needs nobody's leave.
		answer.Verdict, answer.Reason = signal.ResultFail, s.Result.Reason
	case s.Result.Value != signal.ResultPass:
		answer.Reason = s.Result.Reason
	case len(s.Guardrails.BlockedBy) > 0:
		answer.Reason = reasonBlocked
	default:
		answer.Verdict, answer.Reason = signal.ResultPass, s.Result.Reason
	}
	return answer
}

// decider returns the report of the optimizer that decides here, or why there is none.
func (e *optimizationExtension) decider() (optimizerReport, string) {
	reason := reasonNotDecider
	for _, body := range e.store.Snapshots("optimizer") {
		var report optimizerReport
		if json.Unmarshal(body, &report) != nil || !report.Decider {
			continue
		}
		if e.clock().Sub(report.At) > staleAfter {
			reason = reasonStale
			continue
		}
		return report, ""
	}
	return optimizerReport{}, reason
}

// changesAnswer holds changes as the optimizer published them, the newest first.
type changesAnswer struct {
	Schema    string            `json:"schema"`
	Total     int               `json:"total"`
	Truncated bool              `json:"truncated"`
	Changes   []json.RawMessage `json:"changes"`
}

func (e *optimizationExtension) serveChanges(w http.ResponseWriter, r *http.Request) {
	limit, service := defaultLimit, ""
	for name, given := range r.URL.Query() {
		switch name {
		case "service":
			service = given[0]
		case "limit":
			n, err := strconv.Atoi(given[0])
			if err != nil || n < 1 || n > maxLimit {
				e.fail(w, http.StatusBadRequest, fmt.Sprintf("limit must be between 1 and %d", maxLimit))
				return
			}
			limit = n
		default:
			e.fail(w, http.StatusBadRequest, "filters are service and limit")
			return
		}
	}
	type change struct {
		Time    time.Time `json:"time"`
		ID      string    `json:"id"`
		Service string    `json:"service"`
		raw     json.RawMessage
	}
	var all []change
	for _, body := range e.store.Snapshots("changes") {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) != nil {
			continue
		}
		for _, raw := range list {
			c := change{raw: raw}
			if json.Unmarshal(raw, &c) == nil && (service == "" || c.Service == service) {
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b change) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID)) })
	out := changesAnswer{Schema: schemaChanges, Total: len(all), Truncated: len(all) > limit, Changes: []json.RawMessage{}}
	for _, c := range all[:min(limit, len(all))] {
		out.Changes = append(out.Changes, c.raw)
	}
	e.answer(w, http.StatusOK, out)
}

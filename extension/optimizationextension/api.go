// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/docs"
	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// The value of `schema` in each kind of answer. A client that checks it cannot take a proxy's page for an answer of ours.
const (
	schemaSignals = "pitwall.signals/v1"
	schemaSignal  = "pitwall.signal/v1"
	schemaSLOs    = "pitwall.slos/v1"
	schemaHealth  = "pitwall.health/v1"
	schemaError   = "pitwall.error/v1"
)

const (
	defaultLimit = 100
	maxLimit     = 1_000
	maxQuery     = 2_048
)

// handler routes requests. Whatever is not a GET or HEAD of a known path is an error with a JSON body.
func (e *optimizationExtension) handler() http.Handler {
	mux := http.NewServeMux()
	routes := map[string]http.HandlerFunc{
		"/api/v1/signals":      e.serveSignals,
		"/api/v1/signals/{id}": e.serveSignal,
		"/api/v1/ledger":       e.serveLedger,
		"/api/v1/slos":         e.serveSLOs,
		"/api/v1/cardinality":  e.serveCardinality,
		"/api/v1/costs":        e.serveCosts,
		"/api/v1/changes":      e.serveChanges,
		// A service name may hold a slash, which arrives escaped.
		"/api/v1/verdict/{service}": e.serveVerdict,
		"/api/v1/schema":            e.serveSchema,
		"/api/v1/health":            e.serveHealth,
	}
	if e.cfg.Console {
		routes["/{$}"] = serveConsole("index.html")
		routes["/console.js"] = serveConsole("console.js")
		routes["/console.css"] = serveConsole("console.css")
	}
	for path, serve := range routes {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				w.Header().Set("Allow", "GET, HEAD")
				e.fail(w, http.StatusMethodNotAllowed, path+" accepts GET and HEAD only")
				return
			}
			serve(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		e.fail(w, http.StatusNotFound, "no such path")
	})
	return e.guarded(mux)
}

// guarded sets the headers every answer has, and turns a panic into an error answer.
func (e *optimizationExtension) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		defer func() {
			if p := recover(); p != nil {
				e.log.Error("request failed", zap.String("path", r.URL.Path), zap.Any("panic", p))
				e.fail(w, http.StatusInternalServerError, "internal error")
			}
		}()
		if !e.addressed(r.Host) {
			e.fail(w, http.StatusMisdirectedRequest, "the request names another host; see allowed_hosts")
			return
		}
		if len(r.URL.RawQuery) > maxQuery {
			e.fail(w, http.StatusRequestURITooLong, fmt.Sprintf("query is longer than %d bytes", maxQuery))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// addressed reports whether a request with this Host header is meant for this server. One that listens on loopback only answers to
// names of loopback: a page that had its own name resolve to 127.0.0.1 would otherwise read everything through its visitor's browser.
func (e *optimizationExtension) addressed(hostPort string) bool {
	own := hostOf(e.cfg.ServerConfig.NetAddr.Endpoint)
	if !loopback(own) {
		return true
	}
	asked := hostOf(hostPort)
	return loopback(asked) || slices.ContainsFunc(e.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, asked) })
}

func hostOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	return host
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// answer encodes before it writes, so that a failure can still become an error status.
func (e *optimizationExtension) answer(w http.ResponseWriter, status int, body any) {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false) // records of the ledger are served in the bytes that their hashes cover
	if err := enc.Encode(body); err != nil {
		e.log.Error("answer cannot be encoded", zap.Error(err))
		status = http.StatusInternalServerError
		data.Reset()
		data.WriteString(`{"schema":"` + schemaError + `","error":"answer cannot be encoded"}` + "\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client has gone if this fails; there is nobody left to tell.
	_, _ = w.Write(data.Bytes())
}

func (e *optimizationExtension) fail(w http.ResponseWriter, status int, message string) {
	e.answer(w, status, map[string]string{"schema": schemaError, "error": message})
}

type signalsAnswer struct {
	Schema string `json:"schema"`
	// Total counts the signals that match; Signals holds the first of them, up to the limit.
	Total     int               `json:"total"`
	Truncated bool              `json:"truncated"`
	Signals   []json.RawMessage `json:"signals"`
}

func (e *optimizationExtension) serveSignals(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		e.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	found, total := e.store.Find(q.limit, q.match)
	out := signalsAnswer{Schema: schemaSignals, Total: total, Truncated: total > len(found), Signals: []json.RawMessage{}}
	for _, envelope := range found {
		data, err := envelope.MarshalCanonical()
		if err != nil {
			e.fail(w, http.StatusInternalServerError, "a signal cannot be encoded")
			return
		}
		out.Signals = append(out.Signals, data)
	}
	e.answer(w, http.StatusOK, out)
}

func (e *optimizationExtension) serveSignal(w http.ResponseWriter, r *http.Request) {
	envelope, ok := e.store.Get(r.PathValue("id"))
	if !ok {
		e.fail(w, http.StatusNotFound, "no such signal")
		return
	}
	data, err := envelope.MarshalCanonical()
	if err != nil {
		e.fail(w, http.StatusInternalServerError, "the signal cannot be encoded")
		return
	}
	e.answer(w, http.StatusOK, struct {
		Schema string          `json:"schema"`
		Signal json.RawMessage `json:"signal"`
	}{schemaSignal, data})
}

// query filters signals: each list that is not empty must hold the signal's value.
type query struct {
	states, kinds, services []string
	limit                   int
}

var errQuery = errors.New("bad query")

func parseQuery(values url.Values) (query, error) {
	q := query{limit: defaultLimit}
	for name, given := range values {
		var list []string
		for _, v := range given {
			list = append(list, strings.Split(v, ",")...)
		}
		switch name {
		case "state":
			for _, s := range list {
				if !signal.State(s).Known() {
					return query{}, fmt.Errorf("%w: state must be pending, firing, resolved, superseded or expired", errQuery)
				}
			}
			q.states = list
		case "kind":
			q.kinds = list
		case "service":
			// A service name may hold a comma, so it is repeated instead.
			q.services = given
		case "limit":
			n, err := strconv.Atoi(given[0])
			if err != nil || n < 1 || n > maxLimit {
				return query{}, fmt.Errorf("%w: limit must be between 1 and %d", errQuery, maxLimit)
			}
			q.limit = n
		default:
			return query{}, fmt.Errorf("%w: filters are state, kind, service and limit", errQuery)
		}
	}
	return q, nil
}

func (q query) match(e *signal.Envelope) bool {
	holds := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return holds(q.states, string(e.State)) && holds(q.kinds, e.Kind) && holds(q.services, e.Target.Service)
}

type slosAnswer struct {
	Schema string       `json:"schema"`
	SLOs   []slo.Status `json:"slos"`
	// Left counts objectives beyond those shown.
	Left int `json:"left_out"`
}

// maxSLOs bounds one answer.
const maxSLOs = 5_000

func (e *optimizationExtension) serveSLOs(w http.ResponseWriter, _ *http.Request) {
	out := slosAnswer{Schema: schemaSLOs, SLOs: []slo.Status{}}
	for _, reader := range e.statuses {
		for _, s := range reader.Statuses() {
			if len(out.SLOs) >= maxSLOs {
				out.Left++
				continue
			}
			out.SLOs = append(out.SLOs, encodable(s))
		}
	}
	e.answer(w, http.StatusOK, out)
}

// encodable replaces what JSON cannot express: numbers that are not finite become absent or zero, times out of range the zero time.
func encodable(s slo.Status) slo.Status {
	s.Target, s.Good, s.Bad, s.Coverage = number(s.Target), number(s.Good), number(s.Bad), number(s.Coverage)
	s.Compliance, s.BudgetRemaining = optional(s.Compliance), optional(s.BudgetRemaining)
	rates := make([]slo.BurnRate, len(s.BurnRates))
	for i, r := range s.BurnRates {
		rates[i] = slo.BurnRate{Window: r.Window, Rate: optional(r.Rate)}
	}
	s.BurnRates = rates
	s.AsOf = moment(s.AsOf)
	alerts := slices.Clone(s.Alerts)
	for i := range alerts {
		alerts[i].Since = moment(alerts[i].Since)
	}
	s.Alerts = alerts
	return s
}

func number(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func optional(v *float64) *float64 {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return nil
	}
	return v
}

func moment(t time.Time) time.Time {
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

func (*optimizationExtension) serveSchema(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/schema+json")
	_, _ = w.Write(docs.SignalSchema)
}

func (e *optimizationExtension) serveHealth(w http.ResponseWriter, _ *http.Request) {
	usage := e.store.Usage()
	e.answer(w, http.StatusOK, map[string]any{
		"schema": schemaHealth, "status": "ok", "version": e.version, "started_at": e.started.UTC(),
		"objectives": len(e.statuses) > 0, "signals": usage.Signals, "snapshots": usage.Snapshots,
		"board_bytes": usage.Bytes, "board_bytes_limit": usage.MaxBytes, "ledger_records": e.ledgerRecords(),
		"ledger_kept": e.cfg.Storage != nil,
	})
}

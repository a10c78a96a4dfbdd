// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"
)

// maxBody bounds a request's or an answer's body in bytes.
const maxBody = 1 << 20

// failure is an error with the HTTP status that stands for it and the error.type that names it.
type failure struct {
	status  int
	kind    string
	message string
	cause   error
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *failure) Unwrap() error { return f.cause }

// asFailure gives every error a status and a name.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if s, ok := status.FromError(err); ok {
		return &failure{status: statusOf(s.Code()), kind: codeName(s.Code()), message: s.Message()}
	}
	root := err
	for next := errors.Unwrap(root); next != nil; next = errors.Unwrap(root) {
		root = next
	}
	return &failure{status: http.StatusInternalServerError, kind: fmt.Sprintf("%T", root), message: "internal error", cause: err}
}

// endpoint answers a request with a value to write as JSON, or an error.
type endpoint func(r *http.Request) (any, error)

// serveHTTP serves routes, given as ServeMux patterns with a method, until the service stops.
func (e Env) serveHTTP(run *Running, listener net.Listener, routes map[string]endpoint) {
	mux := http.NewServeMux()
	for pattern, answer := range routes {
		mux.Handle(pattern, otelhttp.NewHandler(e.handle(answer), pattern,
			otelhttp.WithTracerProvider(e.Tel.Tracers), otelhttp.WithMeterProvider(e.Tel.Meters), otelhttp.WithPropagators(e.Tel.Propagators)))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // always non-nil: the server was shut down
	}()
	run.onStop(func(ctx context.Context) error {
		var err error
		if server.Shutdown(ctx) != nil {
			err = server.Close() // what is not done by now is cut off
		}
		<-done
		return err
	})
}

func (e Env) handle(answer endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		err := e.broken()
		var body any
		if err == nil {
			body, err = answer(r)
		}
		if err != nil {
			e.fail(ctx, w, r, asFailure(err))
			return
		}
		e.Tel.Log.InfoContext(ctx, "request served", "http.route", r.Pattern)
		writeJSON(w, http.StatusOK, body)
	})
}

// fail answers with an error and leaves its traces: error.type on span and metric, a log record in the trace context.
func (e Env) fail(ctx context.Context, w http.ResponseWriter, r *http.Request, f *failure) {
	if f.status >= http.StatusInternalServerError {
		kind := semconv.ErrorTypeKey.String(f.kind)
		trace.SpanFromContext(ctx).SetAttributes(kind)
		if labeler, ok := otelhttp.LabelerFromContext(ctx); ok {
			labeler.Add(kind)
		}
		e.Tel.Log.ErrorContext(ctx, "request failed", "http.route", r.Pattern, "http.response.status_code", f.status,
			"error.type", f.kind, "exception.message", f.Error())
	} else {
		e.Tel.Log.WarnContext(ctx, "request refused", "http.route", r.Pattern, "http.response.status_code", f.status, "reason", f.message)
	}
	writeJSON(w, f.status, map[string]string{"error": f.message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away; nobody is left to tell
}

// client calls other services over HTTP.
type client struct {
	http *http.Client
}

// newClient returns an instrumented client whose connections close when the service stops.
func (e Env) newClient(run *Running) client {
	base := &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second}
	run.onStop(func(context.Context) error {
		base.CloseIdleConnections()
		return nil
	})
	return client{&http.Client{Timeout: callTimeout, Transport: otelhttp.NewTransport(resendCounter{base},
		otelhttp.WithTracerProvider(e.Tel.Tracers), otelhttp.WithMeterProvider(e.Tel.Meters), otelhttp.WithPropagators(e.Tel.Propagators))}}
}

// call sends in as JSON, when there is any, and reads the answer into out, when it is wanted.
func (c client) call(ctx context.Context, method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, url, err)
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return &failure{status: http.StatusBadGateway, kind: "upstream_unreachable", message: "upstream did not answer", cause: err}
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return &failure{status: http.StatusBadGateway, kind: "upstream_unreachable", message: "upstream broke off", cause: err}
	}
	switch {
	case response.StatusCode >= http.StatusInternalServerError:
		return &failure{status: http.StatusBadGateway, kind: strconv.Itoa(response.StatusCode), message: "upstream failed: " + response.Status}
	case response.StatusCode >= http.StatusBadRequest:
		return &failure{status: response.StatusCode, kind: strconv.Itoa(response.StatusCode), message: "upstream refused: " + response.Status}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("answer of %s %s: %w", method, url, err)
	}
	return nil
}

type resendKey struct{}

// withResend says that the calls made with the context are the n-th repetition.
func withResend(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, resendKey{}, n)
}

// resendCounter stands inside the instrumentation, where the context holds the client span, and writes the repetition on it.
type resendCounter struct {
	next http.RoundTripper
}

func (t resendCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	if n, ok := r.Context().Value(resendKey{}).(int); ok && n > 0 {
		trace.SpanFromContext(r.Context()).SetAttributes(semconv.HTTPRequestResendCount(n))
	}
	return t.next.RoundTrip(r)
}

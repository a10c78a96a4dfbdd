// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// serveGRPC serves what register adds until the service stops.
func (e Env) serveGRPC(run *Running, listener net.Listener, register func(grpc.ServiceRegistrar)) {
	server := grpc.NewServer(grpc.UnaryInterceptor(e.intercept), grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(e.Tel.Tracers), otelgrpc.WithMeterProvider(e.Tel.Meters), otelgrpc.WithPropagators(e.Tel.Propagators))))
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // nil after a stop; a listener that broke ends the service's answers, which its callers see
	}()
	run.onStop(func(ctx context.Context) error {
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			server.GracefulStop()
		}()
		select {
		case <-drained:
		case <-ctx.Done():
			server.Stop()
			<-drained
		}
		<-done
		return nil
	})
}

// intercept breaks requests when told to and leaves the traces of an error: error.type on the span, a log record in the trace context.
func (e Env) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	err := e.broken()
	var answer any
	if err == nil {
		answer, err = next(ctx, req)
	}
	if err == nil {
		e.Tel.Log.InfoContext(ctx, "request served", "rpc.method", info.FullMethod)
		return answer, nil
	}
	f := asFailure(err)
	code := codeOf(f)
	if code == codes.Internal || code == codes.Unavailable {
		trace.SpanFromContext(ctx).SetAttributes(semconv.ErrorTypeKey.String(f.kind))
		e.Tel.Log.ErrorContext(ctx, "request failed", "rpc.method", info.FullMethod, "rpc.response.status_code", codeName(code),
			"error.type", f.kind, "exception.message", f.Error())
	} else {
		e.Tel.Log.WarnContext(ctx, "request refused", "rpc.method", info.FullMethod, "rpc.response.status_code", codeName(code), "reason", f.message)
	}
	return nil, status.Error(code, f.message)
}

// codeOf translates a failure's HTTP status: the caller's own mistakes stay such, everything else is the service's.
func codeOf(f *failure) codes.Code {
	switch {
	case f.status == http.StatusBadGateway || f.status == http.StatusServiceUnavailable:
		return codes.Unavailable
	case f.status == http.StatusNotFound:
		return codes.NotFound
	case f.status < http.StatusInternalServerError:
		return codes.FailedPrecondition
	default:
		return codes.Internal
	}
}

// statusOf translates the code of an upstream's answer.
func statusOf(code codes.Code) int {
	switch code {
	case codes.NotFound:
		return http.StatusNotFound
	case codes.FailedPrecondition:
		return http.StatusConflict
	default:
		return http.StatusBadGateway
	}
}

// codeName writes a code as the semantic conventions do.
func codeName(code codes.Code) string {
	names := map[codes.Code]string{
		codes.OK: "OK", codes.Canceled: "CANCELLED", codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND",
		codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	}
	if name, ok := names[code]; ok {
		return name
	}
	return "UNKNOWN"
}

// dial returns an instrumented connection that closes when the service stops. It connects at the first call.
func (e Env) dial(run *Running, address string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(e.Tel.Tracers),
			otelgrpc.WithMeterProvider(e.Tel.Meters), otelgrpc.WithPropagators(e.Tel.Propagators))))
	if err != nil {
		return nil, fmt.Errorf("connection to %s: %w", address, err)
	}
	run.onStop(func(context.Context) error { return conn.Close() })
	return conn, nil
}

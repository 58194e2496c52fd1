package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracing exports OpenTelemetry traces of requests, SQL statements and calls of a KMS. A
// nil *tracing does nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
}

// startTracing starts tracing if the standard variables of OpenTelemetry ask for it: an
// endpoint, or OTEL_TRACES_EXPORTER=otlp. The exporter and the SDK read the others
// themselves (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …).
func startTracing(ctx context.Context, getenv func(string) string) (*tracing, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	endpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || exporter == "none" || exporter == "" && endpoint == "" {
		return nil, nil
	}
	if exporter != "" && exporter != "otlp" {
		return nil, &usageError{"OTEL_TRACES_EXPORTER must be otlp or none"}
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(variable); protocol != "" && protocol != "http/protobuf" {
			return nil, &usageError{variable + " must be http/protobuf"}
		}
	}
	client, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "keyward"), attribute.String("service.version", versionText())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(client), sdktrace.WithResource(about))}
	otel.SetTracerProvider(t.provider) // clients of KMSs use it
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return t, nil
}

// traceFlushTimeout bounds the export of the last spans.
const traceFlushTimeout = 3 * time.Second

// trace starts tracing if it is asked for. The returned function exports what is left.
func (p *program) trace(ctx context.Context) (end func(), err error) {
	if p.tracing, err = startTracing(ctx, os.Getenv); err != nil || p.tracing == nil { // the variables are OpenTelemetry's, not settings
		return func() {}, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { p.log.Warn("traces not exported", "error", err) }))
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceFlushTimeout)
		defer cancel()
		_ = p.tracing.provider.Shutdown(ctx) // failures are logged by the handler
	}, nil
}

// handler returns h with a span for each request, which continues the caller's trace
// (W3C Trace Context). The span is named by the operation, never by a path.
func (t *tracing) handler(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return otelhttp.NewHandler(h, "request", otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}))
}

// pgxTracer returns the tracer of SQL statements, nil without tracing.
func (t *tracing) pgxTracer() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return sqlTracer{t.provider.Tracer("keyward/db")}
}

// sqlTracer makes a span for each statement and for each pipeline of several, below the
// span of the request or, for the worker, as a trace of its own. Spans have the name of
// the query and no arguments.
type sqlTracer struct{ trace.Tracer }

// TraceQueryStart implements [pgx.QueryTracer].
func (t sqlTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	ctx, _ = t.Start(ctx, "SQL "+queryName(data.SQL), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("db.system.name", "postgresql")))
	return ctx
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (sqlTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	endSpan(ctx, data.Err)
}

// TraceBatchStart implements [pgx.BatchTracer].
func (t sqlTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	ctx, _ = t.Start(ctx, "SQL pipeline", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.Int("db.operation.batch.size", data.Batch.Len())))
	return ctx
}

// TraceBatchQuery implements [pgx.BatchTracer].
func (sqlTracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	trace.SpanFromContext(ctx).AddEvent(queryName(data.SQL))
}

// TraceBatchEnd implements [pgx.BatchTracer].
func (sqlTracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	endSpan(ctx, data.Err)
}

func endSpan(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	if err != nil {
		span.SetStatus(codes.Error, "failed") // texts of errors may repeat values
	}
	span.End()
}

// queryName returns the name of a generated query, else its first word.
func queryName(sql string) string {
	if rest, named := strings.CutPrefix(sql, "-- name: "); named {
		sql = rest
	}
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	return word
}

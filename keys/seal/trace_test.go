package seal_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/seal/kmstest"
)

// recordSpans exports spans to memory until the test ends.
func recordSpans(t *testing.T) *tracetest.SpanRecorder {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	t.Cleanup(func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator())
	})
	return spans
}

const tracedID = "4bf92f3577b34da6a3ce929d0e0e4736"

// traced returns the context of a request that its caller traces.
func traced(t *testing.T) context.Context {
	t.Helper()
	return propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": "00-" + tracedID + "-00f067aa0ba902b7-01"})
}

// A trace continues in the requests to each KMS, and each attempt is a span, failed or
// not. The signature of a request to AWS does not cover the header, which proxies change.
func TestKMSCallsAreTraced(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (uri string, header func() http.Header){
		"AWS": func(t *testing.T) (string, func() http.Header) {
			s := kmstest.NewAWS(t)
			return s.URI, func() http.Header { return s.Last().Header }
		},
		"Vault": func(t *testing.T) (string, func() http.Header) {
			s := kmstest.NewVault(t)
			return s.URI, func() http.Header { return s.Last().Header }
		},
		"Google": func(t *testing.T) (string, func() http.Header) {
			f := newGCP(t)
			return gcpURI, func() http.Header { return http.Header{"Traceparent": f.traceparents()} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			uri, header := start(t)
			openKMS(t, uri)
			if h := header(); h.Get("Traceparent") != "" {
				t.Errorf("traced without being asked: %v", h)
			}
			spans := recordSpans(t)
			m := newest(t, openKMS(t, uri))
			wrapped, err := m.WrapDataKey(traced(t), tenantA, 1, newDataKey(t))
			if err != nil {
				t.Fatal(err)
			}
			h := header()
			if got := h.Get("Traceparent"); !strings.HasPrefix(got, "00-"+tracedID+"-") {
				t.Errorf("traceparent %q", got)
			}
			if strings.Contains(strings.ToLower(h.Get("Authorization")), "traceparent") {
				t.Error("the signature covers traceparent")
			}
			if _, err := m.UnwrapDataKey(traced(t), tenantA, 2, wrapped); !errors.Is(err, seal.ErrCannotOpen) {
				t.Errorf("opened as another version: %v", err)
			}
			if !slices.ContainsFunc(spans.Ended(), ofKMS("KMS encrypt", codes.Unset)) || !slices.ContainsFunc(spans.Ended(), ofKMS("KMS decrypt", codes.Error)) {
				t.Errorf("spans %v", spans.Ended())
			}
		})
	}
}

func ofKMS(name string, status codes.Code) func(sdktrace.ReadOnlySpan) bool {
	return func(s sdktrace.ReadOnlySpan) bool {
		return s.Name() == name && s.Status().Code == status && s.SpanKind() == trace.SpanKindClient && s.SpanContext().TraceID().String() == tracedID
	}
}

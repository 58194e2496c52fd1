package main

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/seal/kmstest"
)

// collectSpans starts a collector, as OTEL_EXPORTER_OTLP_ENDPOINT names one, and returns
// its URL and the names of the spans that it got, by trace id.
func collectSpans(t *testing.T) (url string, spans func() map[string][]string) {
	t.Helper()
	var mu sync.Mutex
	got := map[string][]string{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		text, _ := io.ReadAll(body)
		var export collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(text, &export); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					id := hex.EncodeToString(span.TraceId)
					got[id] = append(got[id], span.Name)
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(got)
	}
}

// A request continues its caller's trace down to the statements of the database and the
// calls of a KMS. Without the standard variables nothing is traced.
func TestTraces(t *testing.T) {
	env := environ{"KEYWARD_DATABASE_URL": dbtest.New(t), "KEYWARD_MASTER_KEY": kmstest.NewVault(t).URI, "KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_PUBLIC_URL": "https://keys.example.com"}
	key := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)
	url, spans := collectSpans(t)
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	created := false
	visit := func() {
		r := launch(t, env, "serve", "--log-format=text")
		rec := &recorder{url: "http://" + r.until(t, servingAt)[1], key: key}
		if !created {
			rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme"}`, true)
			created = true
		}
		rec.ask(t, "GET", "/v1/tenants", "", true, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
		rec.ask(t, "POST", "/v1/tenants/acme/tokens", `{"claims":{"sub":"alice"}}`, true, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
		if code := r.stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
	visit()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	t.Setenv("OTEL_SDK_DISABLED", "true")
	visit()
	if got := spans(); len(got) != 0 {
		t.Errorf("traced without being asked: %v", got)
	}
	t.Setenv("OTEL_SDK_DISABLED", "")
	visit()
	names := strings.Join(spans()[id], ", ")
	for _, want := range []string{"listTenants", "SQL ListTenants", "KMS decrypt"} {
		if !strings.Contains(names, want) {
			t.Errorf("the trace has %q, not %q", names, want)
		}
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	keyward(t, env, "serve").want(t, exitUsage, "OTEL_TRACES_EXPORTER must be otlp or none")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	keyward(t, env, "worker").want(t, exitUsage, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf")
}

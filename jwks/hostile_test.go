package jwks_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// hostile is a server over a real network connection, and a client of it.
func hostile(t *testing.T, config jwks.Config, h http.HandlerFunc) (*httptest.Server, *jwks.Client) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config.URL, config.AllowHTTP = or(config.URL, server.URL), true
	config.HTTPClient = server.Client()
	client, err := jwks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return server, client
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestHostileAnswersAreErrors(t *testing.T) {
	good := jwkstest.New(issuerURL).JWKS()
	squeezed := &bytes.Buffer{}
	zip := gzip.NewWriter(squeezed)
	_, _ = zip.Write(good)
	_ = zip.Close()
	for name, h := range map[string]http.HandlerFunc{
		"an empty body":          func(http.ResponseWriter, *http.Request) {},
		"not JSON":               text("<html>"),
		"not an object":          text("[]"),
		"no keys":                text("{}"),
		"null keys":              text(`{"keys":null}`),
		"keys of the wrong type": text(`{"keys":{}}`),
		"half a set":             text(string(good[:len(good)/2])),
		"two sets":               text(string(good) + string(good)),
		"too many keys":          text(`{"keys":[{}` + strings.Repeat(",{}", 200) + `]}`),
		"too long":               text(`{"keys":[]` + strings.Repeat(" ", 1<<20) + `}`),
		"deep nesting":           text(`{"keys":[` + strings.Repeat("[", 100_000)),
		"no content":             status(http.StatusNoContent),
		"an error":               status(http.StatusInternalServerError),
		"nothing new of nothing": status(http.StatusNotModified),
		"a redirect to nowhere":  status(http.StatusFound),
		"a truncated gzip":       compressed(squeezed.Bytes()[:squeezed.Len()/2]),
		"a gzip that is none":    compressed(good),
		"a length that is a lie": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write(good)
		},
		"a connection that drops": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			_, client := hostile(t, jwks.Config{}, h)
			_, err := client.Key(t.Context(), "1")
			if !errors.Is(err, jwks.ErrJWKS) || errors.Is(err, jwks.ErrNoKeys) {
				t.Errorf("got %v", err)
			}
		})
	}
	_, client := hostile(t, jwks.Config{}, compressed(squeezed.Bytes()))
	wants(t, client, "1", nil)
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func compressed(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b)
	}
}

// A bomb is a small body that decompresses to a large one.
func TestEndlessAnswersEnd(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write([]byte(`{"keys":[`))
	for range 64 {
		_, _ = zip.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_ = zip.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
				return
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{"endless": endless, "a bomb": compressed(bomb.Bytes())} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, client := hostile(t, jwks.Config{MaxBody: 64 << 10}, h)
		wants(t, client, "1", jwks.ErrJWKS)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
	}
}

func TestSlowAnswersEndWithTheTimeout(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[`))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		_, client := hostile(t, jwks.Config{Timeout: 50 * time.Millisecond}, h)
		start := time.Now()
		wants(t, client, "1", jwks.ErrJWKS)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func TestRedirectsLeadNowhereElse(t *testing.T) {
	var reached atomic.Bool
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		_, _ = w.Write(jwkstest.New(issuerURL).JWKS())
	}))
	defer inside.Close()
	to := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) }
	_, client := hostile(t, jwks.Config{}, to)
	wants(t, client, "1", jwks.ErrJWKS)
	if reached.Load() {
		t.Error("the redirect was followed into the network")
	}
	_, client = hostile(t, jwks.Config{RedirectHosts: []string{strings.TrimPrefix(inside.URL, "http://")}}, to)
	wants(t, client, "1", nil)

	around := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }
	_, client = hostile(t, jwks.Config{}, around)
	wants(t, client, "1", jwks.ErrJWKS)
}

func TestRedirectsStayWithHTTPS(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/other/jwks.json", http.StatusFound)
	})
	wants(t, newClient(t, issuer, jwks.Config{}), "1", jwks.ErrJWKS)
	requests(t, issuer, 1)
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		server, client := hostile(t, jwks.Config{Timeout: 20 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		wants(t, client, "1", jwks.ErrJWKS)
		client.Close()
		server.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

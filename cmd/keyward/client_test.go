package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// api is an admin API that answers as told, and a client of it that does not
// wait but notes how long it would have.
func api(t *testing.T, answer http.HandlerFunc) (client *adminClient, waits *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := remote{URL: s.URL, APIKey: "kw_id_hunter2", Tenant: "acme"}.open()
	if err != nil {
		t.Fatal(err)
	}
	waits = new([]time.Duration)
	c.pause = func(_ context.Context, d time.Duration) error { *waits = append(*waits, d); return nil }
	return c, waits
}

func TestClientTriesAgain(t *testing.T) {
	var keys, bodies []string
	c, waits := api(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(body))
		switch len(keys) {
		case 1:
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Connection", "close") // or net/http sends the second anew by itself
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"unavailable","status":503,"title":"Unavailable","detail":"Try again."}`)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"kid":"a","alg":"ES256","state":"deprecated"}`)
		}
	})
	got, err := c.importKeys(t.Context(), keyImport{PublicKey: []byte(`"PEM"`), KID: "a"})
	if err != nil || len(got) != 1 || got[0].KID != "a" {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(keys) != 3 || keys[0] == "" || len(slices.Compact(keys)) != 1 || len(slices.Compact(bodies)) != 1 {
		t.Errorf("requests %q with %q", keys, bodies)
	}
	if len(*waits) != 2 || (*waits)[0] != 7*time.Second {
		t.Errorf("waited %v", *waits)
	}
}

func TestClientShowsProblems(t *testing.T) {
	tries := 0
	c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"invalid_request","status":400,"title":"Invalid request","detail":"See errors.","errors":[{"field":"alg","message":"is required"}]}`)
	})
	_, err := c.listKeys(t.Context())
	var p *problem
	if !errors.As(err, &p) || tries != 1 {
		t.Fatalf("%v after %d tries", err, tries)
	}
	if want := "Invalid request: See errors.\n  alg is required (invalid_request, 400)"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestClientTrustsNobodyElse(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"a page":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"not found": http.NotFound,
	} {
		c, _ := api(t, answer)
		if _, err := c.policies(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientPages(t *testing.T) {
	c, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			fmt.Fprint(w, `{"items":[{"kid":"a"}],"next_cursor":"x&y"}`)
		} else if r.URL.Query().Get("cursor") == "x&y" {
			fmt.Fprint(w, `{"items":[{"kid":"b"}]}`)
		}
	})
	if got, err := c.listKeys(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestClientSettings(t *testing.T) {
	for url, said := range map[string]string{
		"keys.example.com": "absolute", "ftp://keys.example.com": "absolute", "https://user:hunter2@keys.example.com": "absolute",
		"http://keys.example.com": "--allow-http", "https://keys.example.com": "KEYWARD_API_KEY", "http://[::1]:80": "KEYWARD_API_KEY",
	} {
		r := keyward(t, environ{"KEYWARD_URL": url}, "import-from", "jwks", "http://127.0.0.1:1/", "--tenant=acme", "--keep-for=0s")
		r.want(t, exitFailed, "refused") // the source comes first
		_, err := remote{URL: url, Tenant: "acme"}.open()
		if err == nil || !strings.Contains(err.Error(), said) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := (remote{URL: "http://keys.example.com", APIKey: "k", AllowHTTP: true}).open(); err != nil {
		t.Error(err)
	}
}

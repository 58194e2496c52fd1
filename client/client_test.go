package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// api is a server that answers as told, and a client of it that does not wait
// but notes how long it would have.
func api(t *testing.T, answer http.HandlerFunc, options ...Option) (client *Client, waits *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	waits = new([]time.Duration)
	noted := func(s *sender) {
		s.sleep = func(_ context.Context, d time.Duration) error { *waits = append(*waits, d); return nil }
	}
	c, err := New(s.URL, "kw_id_hunter2", append(options, noted)...)
	if err != nil {
		t.Fatal(err)
	}
	return c, waits
}

func unavailable(w http.ResponseWriter, after string) {
	w.Header().Set("Retry-After", after)
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprint(w, `{"code":"unavailable","status":503,"title":"Unavailable","detail":"Try again."}`)
}

// What creates is sent again with the same key and body, so that it is one.
func TestTriesAgain(t *testing.T) {
	var keys, bodies []string
	c, waits := api(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(body))
		switch len(keys) {
		case 1:
			w.Header().Set("Connection", "close") // or net/http sends the second anew by itself
			unavailable(w, "7")
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"kid":"a","alg":"ES256","state":"deprecated"}`)
		}
	})
	got, err := c.ImportKeys(t.Context(), "acme", ImportKeyRequest{PublicKey: new(KeyMaterial(`"PEM"`)), KID: new("a")})
	if err != nil || len(got) != 1 || got[0].KID != "a" {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(keys) != 3 || keys[0] == "" || len(slices.Compact(keys)) != 1 || len(slices.Compact(bodies)) != 1 {
		t.Errorf("requests %q with %q", keys, bodies)
	}
	if len(*waits) != 2 || (*waits)[0] != 7*time.Second || (*waits)[1] <= 0 {
		t.Errorf("waited %v", *waits)
	}
}

// Every change is sent with a key, the same however often it is sent, and another than
// that of the next change. Without retries there is none, unless the caller brings it.
func TestChangesAreMadeOnce(t *testing.T) {
	var sent []string
	handler := func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Idempotency-Key"))
		unavailable(w, "1")
	}
	c, _ := api(t, handler)
	for name, change := range map[string]func(...RequestEditorFn) error{
		"rotate": func(...RequestEditorFn) error {
			_, err := c.RotateKeys(t.Context(), "acme", RotateRequest{})
			return err
		},
		"create": func(e ...RequestEditorFn) error {
			_, err := c.CreateTenant(t.Context(), CreateTenantRequest{Slug: "acme"}, e...)
			return err
		},
		"put": func(...RequestEditorFn) error {
			_, err := Bytes(c.Requests.PutPolicy(t.Context(), "acme", "ES256", nil, PutPolicyRequest{}))
			return err
		},
		"delete": func(e ...RequestEditorFn) error {
			_, err := Bytes(c.Requests.RetirePolicy(t.Context(), "acme", "ES256", nil, e...))
			return err
		},
	} {
		sent = nil
		var p *Problem
		if err := change(); !errors.As(err, &p) || p.IdempotencyKey != sent[0] {
			t.Errorf("%s: %v", name, err)
		}
		first := sent[0]
		if len(sent) != 4 || first == "" || len(slices.Compact(sent)) != 1 {
			t.Errorf("%s: sent with the keys %q", name, sent)
		}
		sent = nil
		if _ = change(); sent[0] == first {
			t.Errorf("%s: two changes have one key", name)
		}
	}
	c, _ = api(t, handler, Retries(0))
	sent = nil
	_, _ = c.RotateKeys(t.Context(), "acme", RotateRequest{})
	_, _ = c.CreateTenant(t.Context(), CreateTenantRequest{}, Once("mine"))
	if !slices.Equal(sent, []string{"", "mine"}) {
		t.Errorf("without retries: %q", sent)
	}
}

// What is known of a failed change reaches the caller: from the server, or because no
// answer came.
func TestOutcomes(t *testing.T) {
	for outcome, want := range map[string]Outcome{`"unknown"`: OutcomeUnknown, `"unchanged"`: OutcomeUnchanged} {
		c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"unavailable","status":503,"title":"Unavailable","detail":"x","outcome":`+outcome+`}`)
		})
		var p *Problem
		if _, err := c.RotateKeys(t.Context(), "acme", RotateRequest{}); !errors.As(err, &p) || p.Outcome != want {
			t.Errorf("%s: %v", outcome, err)
		}
	}
	c, _ := api(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	var lost *NoAnswerError
	if _, err := c.RotateKeys(t.Context(), "acme", RotateRequest{}); !errors.As(err, &lost) || lost.IdempotencyKey == "" {
		t.Errorf("no answer: %v", err)
	}
	if _, err := c.GetTenant(t.Context(), "acme"); err == nil || errors.As(err, &lost) && lost.Err == nil {
		t.Errorf("no answer to a read: %v", err)
	}
}

// What may have been done already is not done twice, and who is told to wait
// for long is not waited for.
func TestTriesAgainOnlyWhatIsSafe(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *Client) error{
		"sign": func(ctx context.Context, c *Client) error {
			_, err := c.SignToken(ctx, "acme", SignTokenRequest{})
			return err
		},
		"sign many": func(ctx context.Context, c *Client) error {
			_, err := c.SignTokens(ctx, "acme", SignTokensRequest{})
			return err
		},
	} {
		tries := 0
		c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) { tries++; unavailable(w, "1") })
		var p *Problem
		if err := ask(t.Context(), c); !errors.As(err, &p) || p.Code != ProblemCodeUnavailable || p.RetryAfter != time.Second || tries != 1 {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}
	for after, want := range map[string]int{"1": 4, "": 4, "-5": 4, "3600": 1, "99999999999999999999": 1, "Fri, 01 Jan 2100 00:00:00 GMT": 1} {
		tries := 0
		c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) { tries++; unavailable(w, after) })
		if _, err := c.GetTenant(t.Context(), "acme"); err == nil || tries != want {
			t.Errorf("Retry-After %q: %v after %d tries, want %d", after, err, tries, want)
		}
	}
}

func TestProblems(t *testing.T) {
	tries := 0
	c, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"invalid_request","status":400,"title":"Invalid request","detail":"See errors.","errors":[{"field":"alg","message":"is required"}]}`)
	})
	_, err := c.ListPolicies(t.Context(), "acme")
	var p *Problem
	if !errors.As(err, &p) || tries != 1 || p.RequestID != "req-1" || p.Errors[0].Field != "alg" {
		t.Fatalf("%v after %d tries", err, tries)
	}
	if want := "Invalid request: See errors.\n  alg is required (invalid_request, 400)"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestTrustsNobodyElse(t *testing.T) {
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
		"too long":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxAnswer+1)) },
	} {
		c, _ := api(t, answer, HTTPClient(&http.Client{}))
		if _, err := c.ListPolicies(t.Context(), "acme"); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPages(t *testing.T) {
	c, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("cursor") {
		case "":
			fmt.Fprint(w, `{"items":[{"kid":"a"},{"kid":"b"}],"next_cursor":"x&y"}`)
		case "x&y":
			fmt.Fprint(w, `{"items":[{"kid":"c"}],"next_cursor":"gone"}`)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"code":"invalid_request"}`)
		}
	})
	all := c.Keys(t.Context(), "acme", nil)
	for range 2 { // an iterator can be gone through again
		got, failed := "", error(nil)
		for k, err := range all {
			got, failed = got+k.KID, err
		}
		if got != "abc" || failed == nil {
			t.Errorf("%q, %v", got, failed)
		}
	}
	for range all {
		break
	}
}

func TestNewRefuses(t *testing.T) {
	for at, want := range map[string]error{
		"keys.example.com": ErrBadURL, "ftp://keys.example.com": ErrBadURL, "https://user:hunter2@keys.example.com": ErrBadURL,
		"https://keys.example.com?a": ErrBadURL, "http://keys.example.com": ErrInsecure, "https://keys.example.com": ErrNoAPIKey, "http://[::1]:80": ErrNoAPIKey,
	} {
		if _, err := New(at, ""); !errors.Is(err, want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := New("http://keys.example.com", "k", AllowHTTP()); err != nil {
		t.Error(err)
	}
}

// What is asked for patiently has its own time, and is asked for once.
func TestPatiently(t *testing.T) {
	var asked atomic.Int32
	c, _ := api(t, func(_ http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	})
	if _, err := c.VerifyAudit(t.Context(), "acme", Patiently(time.Hour)); err == nil || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	if _, err := c.VerifyAudit(t.Context(), "acme", Patiently(20*time.Millisecond)); !errors.Is(err, errTooSlow) || asked.Load() > 2 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answer is a response that has been read and held against the document.
type answer struct {
	t testing.TB
	*http.Response
	body []byte
}

// do sends a request, with key as its credential if there is one. headers are
// pairs of name and value. A response that the document does not allow fails
// the test, whatever the test is about.
func (w *world) do(method, path, key, body string, headers ...string) *answer {
	w.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return w.send(r)
}

// send is do for a request made by hand.
func (w *world) send(r *http.Request) *answer {
	w.t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{t: w.t, Response: res}
	if res.Header.Get("Content-Type") == mimeEventStream { // without end
		w.contract.check(w.t, r, a)
		return a
	}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		w.t.Fatal(err)
	}
	w.contract.check(w.t, r, a)
	return a
}

// ok demands a status and decodes the body.
func (a *answer) ok(status int, into ...any) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Fatalf("%s %s: %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	for _, v := range into {
		if err := json.Unmarshal(a.body, v); err != nil {
			a.t.Fatalf("%s: %v", a.body, err)
		}
	}
	return a
}

// problem demands a problem with a code and its status.
func (a *answer) problem(code ProblemCode) Problem {
	a.t.Helper()
	var p Problem
	a.ok(problems[code].status, &p)
	if p.Code != code {
		a.t.Fatalf("%s %s: %s, want %s", a.Request.Method, a.Request.URL.Path, a.body, code)
	}
	return p
}

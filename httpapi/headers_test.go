package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// said sends an errand with header lines as they are written.
func (w *world) said(e errand, lines ...string) *answer {
	w.t.Helper()
	body := e.body(w.t)
	head := []string{e.method + " " + e.url() + " HTTP/1.1", "Host: x", "Connection: close", "Authorization: Bearer " + w.root}
	if body != "" {
		head = append(head, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return w.spoken(strings.Join(append(head, lines...), "\r\n") + "\r\n\r\n" + body)
}

// headers are those of the document that an operation takes.
func (e errand) headers() (names []string) {
	for _, p := range e.Parameters {
		if p.Value.In == openapi3.ParameterInHeader {
			names = append(names, p.Value.Name)
		}
	}
	return names
}

// What is in none of the forms that a header of the admin API has is refused by
// every operation that takes it, and changes nothing: this goes by the document.
func TestWalkHeaderTricks(t *testing.T) {
	w := newWorld(t)
	acme := w.inhabited()[0]
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["delete","revoke_all","import","purge"]}`).ok(200)
	tricks := []string{
		"a\rX-Injected: 1", "a\r X-Injected: 1", "a\x00b", "\x00", "a\x7fb", "a\tb", "a b", "\u00e9\u20ac", "\xff\xfe", "\u0430cme", "a\u200bb", "a\u202eb",
		strings.Repeat("x", 300), strings.Repeat("x", 60_000), "a\r\n b",
	}
	forms := map[string][]string{
		"Keyward-Approval": {
			"x", "00000000-0000-7000-8000-00000000000", nowhere + "0", nowhere + "," + nowhere, "{" + nowhere + "}", "urn:uuid:" + nowhere,
			strings.ReplaceAll(nowhere, "-", ""), "' OR 1=1 --", "*", "null",
		},
		"Idempotency-Key": {"a, b"},
		"Last-Event-ID":   {"-1", "a/b", "a=", "a.b", "0", "' OR 1=1", "AAAA", strings.Repeat("A", 129)},
	}
	seen := map[string]bool{}
	w.inert(func() {
		for _, e := range w.errands() {
			e = e.at(acme)
			for _, name := range e.headers() {
				if !e.secured() {
					continue // If-None-Match takes anything: see TestHeaderTricks
				}
				if name == "Prefer" {
					continue // what nobody knows is passed over (RFC 7240 section 2)
				}
				seen[name] = true
				if forms[name] == nil {
					t.Errorf("%s takes %s, of which nothing is tried", e.OperationID, name)
				}
				for _, value := range append(tricks, forms[name]...) {
					a := w.said(e, name+": "+value)
					what := fmt.Sprintf("%s with %s: %.40q", e.OperationID, name, value)
					if a.refused(what); a.Header.Get("X-Injected") != "" || a.StatusCode != 400 && a.StatusCode != 431 {
						t.Errorf("%s: %d %v", what, a.StatusCode, a.Header)
					}
				}
				if a := w.said(e, name+": A", name+": B"); a.StatusCode != 400 {
					t.Errorf("%s with two of %s: %d", e.OperationID, name, a.StatusCode)
				}
			}
		}
	})
	if len(seen) != len(forms) {
		t.Errorf("%v are taken, %d are tried", seen, len(forms))
	}
}

// A header that is nobody's business is passed over, however it is spelled; so
// are headers that only answers have.
func TestHeadersNobodyReads(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path = "/t/acme/.well-known/jwks.json"
	usual := w.do("GET", path, "", "").ok(200)
	for _, name := range []string{"Keyward-Stale", "Keyward-Not-Before", "Keyward-Signature", "Keyward-Approval", "Keyward-Tenant", "Idempotency-Key", "Last-Event-ID", "X-Original-URL", "X-HTTP-Method-Override", "X-Forwarded-Host"} {
		a := w.do("GET", path, "", "", name, "/v1/tenants, DELETE, 1").ok(200)
		if string(a.body) != string(usual.body) || a.Header.Get(name) != usual.Header.Get(name) {
			t.Errorf("%s: %v %s", name, a.Header, a.body)
		}
	}
	if got := w.do("DELETE", "/v1/tenants/acme", w.root, "", "X-HTTP-Method-Override", "GET"); got.StatusCode != http.StatusNoContent {
		t.Errorf("%d", got.StatusCode)
	}
}

// A head of a megabyte ends in 431 and nothing else.
func TestHugeHead(t *testing.T) {
	w := newWorld(t)
	w.inert(func() {
		a := w.spell("POST", "/v1/tenants", "Idempotency-Key: "+strings.Repeat("x", 2<<20))
		if a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d", a.StatusCode)
		}
	})
}

package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzBodies sends any body to any operation that takes one. Nothing makes the
// server fail, every refusal is a problem with a documented code, and what is
// refused has changed nothing.
func FuzzBodies(f *testing.F) {
	w := newWorld(f)
	w.tenant("acme")
	var taking []errand
	for _, e := range w.errands() {
		if e.RequestBody == nil {
			continue
		}
		taking = append(taking, e)
		for _, body := range append(e.bodies(f), `{}`, `[]`, `null`, `{"x":1}`, "{", `{"alg":"none"}`) {
			f.Add(uint8(len(taking)-1), body)
		}
	}
	for _, body := range []string{
		`{"slug":"` + strings.Repeat("a", 64) + `"}`, `{"slug":"a","slug":"b"}`, `{"slug":"\ud800"}`, `{"slug":"\u0000"}`, `{"claims":{"exp":1e400}}`, `{"claims":{"exp":-1}}`,
		`{"payload":"` + strings.Repeat("A", 4096) + `"}`, `{"claims":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, `{"grace_period_seconds":9223372036854775808}`,
		`{"public_key":{"kty":"oct","k":"AA"},"expires_at":"2027-01-01T00:00:00Z"}`, `{"name":"\u0000"}`, `{"comment":"\u0000","reason":"compromised"}`, `{"url":"http://[::1"}`,
		`{"token":"a.b.c","audience":"\u0000"}`, `{"claims":{"\u0000":"\u0000"}}`, `{"reason":"\u0000"}`, `{"custom_domain":"x..y"}`, `{"not_before":"0000-01-01T00:00:00Z"}`,
		`{"metadata":{"token_endpoint":"https://[::1","x":[null,{"y":"\u0000"}]}}`, `{"metadata":{"ISSUER":"x","i\u017f\u017fuer":"y","":1e400}}`,
		`{"metadata":{"a":` + strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 62), `{"metadata":{"scopes_supported":[]}}`, `{"metadata":{"x":"` + strings.Repeat("a", 17000) + `"}}`,
	} {
		for i := range taking {
			f.Add(uint8(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		w, e := w.in(t), taking[int(which)%len(taking)]
		before := w.rows()
		a := w.do(e.method, e.url(), w.root, body)
		if a.StatusCode < 300 {
			w.again()
			return
		}
		var p Problem
		if a.StatusCode >= 500 || json.Unmarshal(a.body, &p) != nil || p.Status != a.StatusCode || problems[p.Code].status != p.Status {
			t.Errorf("%s: %d %s", e.OperationID, a.StatusCode, a.body)
		}
		if after := w.rows(); after != before {
			t.Errorf("%s has refused, and changed something:\n%s\n%s", e.OperationID, before, after)
		}
	})
}

// again makes acme what it was, as far as the next body needs it.
func (w *world) again() {
	w.t.Helper()
	a := w.do(http.MethodPatch, "/v1/tenants/acme", w.root, `{"status":"active"}`)
	if !slices.Contains([]int{200, 404}, a.StatusCode) {
		w.t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

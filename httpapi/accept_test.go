package httpapi

import (
	"strings"
	"testing"
)

// Where there is one form, it is answered whatever the client accepts, and where
// verifiers read there is always one (RFC 9110 section 12.5.1 lets a server
// disregard the header). Operations of the admin API that have several forms, and
// no others, refuse with 406 a client that accepts none. This goes by the
// document: a new operation is covered by itself.
func TestWalkAccept(t *testing.T) {
	w := newWorld(t)
	acme := w.inhabited()[0]
	several := 0
	w.inert(func() {
		for _, e := range w.errands() {
			if e.method != "GET" || e.Responses.Value("200") == nil {
				continue
			}
			e = e.at(acme)
			forms := e.Responses.Value("200").Value.Content
			refuses := e.secured() && len(forms) > 1
			if documented := e.Responses.Value("406") != nil; documented != refuses {
				t.Errorf("%s has %d forms; 406 is documented: %v", e.OperationID, len(forms), documented)
			}
			usual := w.do("GET", e.url(), w.root, "")
			if usual.ok(200); forms[mediaTypeOf(usual)] == nil {
				t.Errorf("%s answers %s", e.OperationID, mediaTypeOf(usual))
			}
			for _, accept := range []string{"image/png", "application/x-nobody, */*;q=0", "text/*;q=0, application/*;q=0", "application/json;q=0, image/*", "nonsense", "*/json"} {
				a := w.do("GET", e.url(), w.root, "", "Accept", accept)
				if refuses && !acceptsOne(accept, sortedNames(forms)) {
					a.problem(ProblemCodeNotAcceptable)
					several++
				} else if a.ok(200); mediaTypeOf(a) != mediaTypeOf(usual) && !refuses {
					t.Errorf("%s for %q: %s, else %s", e.OperationID, accept, mediaTypeOf(a), mediaTypeOf(usual))
				}
			}
			for _, form := range sortedNames(forms) {
				if !e.secured() || len(forms) == 1 {
					continue // the public ones prefer one, and tell apart scripts and styles by their names
				}
				if a := w.do("GET", e.url(), w.root, "", "Accept", "image/png, "+form).ok(200); mediaTypeOf(a) != form {
					t.Errorf("%s for %s: %s", e.OperationID, form, mediaTypeOf(a))
				}
			}
			for _, accept := range []string{"*/*", "", "image/png, */*;q=0.1"} {
				if a := w.do("GET", e.url(), w.root, "", "Accept", accept).ok(200); mediaTypeOf(a) != mediaTypeOf(usual) {
					t.Errorf("%s for %q: %s", e.OperationID, accept, mediaTypeOf(a))
				}
			}
		}
	})
	if several == 0 {
		t.Error("nothing was refused")
	}
	// A problem has its own form: who cannot read it learns by the status.
	w.do("GET", "/v1/tenants/nobody", w.root, "", "Accept", "image/png").problem(ProblemCodeTenantNotFound)
}

func mediaTypeOf(a *answer) string {
	name, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return name
}

// acceptsOne is negotiation by the words of the header alone, for what this test
// sends.
func acceptsOne(accept string, forms []string) bool {
	for _, form := range forms {
		kind, _, _ := strings.Cut(form, "/")
		for _, name := range []string{form, kind + "/*", "*/*"} {
			if strings.Contains(accept, name) {
				if !strings.Contains(accept, name+";q=0") {
					return true
				}
				break
			}
		}
	}
	return false
}

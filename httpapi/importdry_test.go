package httpapi

import (
	"strings"
	"testing"
	"time"
)

// A dry run says what the import says, and changes nothing.
func TestImportDryRun(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	f := foreignEC(t)
	set := `{"keys":[` + with(foreignEC(t).public(t), "kid", "a") + `,{"kty":"oct","k":"AAAA","kid":"s"}]}`
	for name, request := range map[string]string{
		"private": body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": "p"}),
		"public":  body(map[string]string{"public_key": f.public(t), "kid": "q", "expires_at": in(time.Hour)}),
		"set":     body(map[string]string{"public_key": set, "expires_at": in(time.Hour)}),
	} {
		before := w.state()
		var key Key
		var list KeyList
		if name == "set" {
			w.do("POST", importPath+"?dry_run=true", w.root, request).ok(200, &list)
			if len(list.Items) != 1 || list.Items[0].KID != "a" || len(list.Skipped) != 1 {
				t.Errorf("%+v", list)
			}
		} else if w.do("POST", importPath, w.root, strings.TrimSuffix(request, "}")+`,"dry_run":true}`).ok(200, &key); key.KID == "" {
			t.Errorf("%s: %+v", name, key)
		}
		if w.state() != before {
			t.Errorf("%s: the dry run changed something", name)
		}
		w.do("POST", importPath, w.root, request).ok(201)
		if name != "set" {
			w.do("POST", importPath+"?dry_run=true", w.root, request).problem(ProblemCodeConflict)
			continue
		}
		imported := w.state()
		for _, query := range []string{"?dry_run=true", ""} { // a set can be repeated
			w.do("POST", importPath+query, w.root, request).ok(200, &list)
			if list.Items == nil || len(list.Items) != 0 || len(list.Skipped) != 2 || list.Skipped[0].Refused || w.state() != imported {
				t.Errorf("a set again: %+v", list)
			}
		}
	}
	contradiction := strings.TrimSuffix(body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": "z"}), "}") + `,"dry_run":false}`
	w.do("POST", importPath+"?dry_run=true", w.root, contradiction).problem(ProblemCodeInvalidRequest)

	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["import"]}`).ok(200)
	request := body(map[string]string{"private_key": foreignEC(t).pem, "alg": "ES256"})
	w.do("POST", importPath+"?dry_run=true", w.root, request).ok(200) // needs nobody's approval
	w.do("POST", importPath, w.root, request).ok(202)
	w.do("POST", importPath+"?dry_run=true", "", request).problem(ProblemCodeUnauthenticated)
}

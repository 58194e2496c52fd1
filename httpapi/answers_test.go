package httpapi

import (
	"strings"
	"testing"
)

// Public documents as those ask who have them, or want another form of them.
func TestOtherFormsOfDocuments(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, path := range []string{
		"/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme",
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks-history",
	} {
		etag := w.do("GET", path, "", "").ok(200).Header.Get("ETag")
		if again := w.do("GET", path, "", "", "If-None-Match", etag); again.StatusCode != 304 || len(again.body) != 0 {
			t.Errorf("%s: %d %s", path, again.StatusCode, again.body)
		}
	}
	for _, path := range []string{"/t/acme/.well-known/jwks.json", "/.well-known/jwks.json"} {
		a := w.do("GET", path, "", "", "Accept", "application/jwk-set+json").ok(200)
		if got := a.Header.Get("Content-Type"); got != "application/jwk-set+json" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestHistoriesInOtherForms(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	csv := w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", "text/csv").ok(200)
	if lines := strings.Count(string(csv.body), "\r\n"); lines < 3 || !strings.HasPrefix(string(csv.body), "seq,") {
		t.Errorf("%s", csv.body)
	}
	all := w.do("GET", "/v1/audit", w.root, "", "Accept", "application/x-ndjson").ok(200)
	if !strings.Contains(string(all.body), `"tenant":"acme"`) {
		t.Errorf("%s", all.body)
	}
	w.do("GET", "/v1/audit", w.root, "", "Accept", "image/png").problem(ProblemCodeNotAcceptable)
}

// Where no more keys may be published, and none may leave yet, nobody rotates.
func TestRotationWaitsForTokens(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","policies":[{"alg":"ES256","max_published_keys":3}]}`).ok(201)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "{}").ok(200)
	before := w.state()
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "{}").problem(ProblemCodeConflict)
	if after := w.state(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

func TestRedeliveryByADisabledWebhookOfThePlatform(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	h := w.hook("/v1/webhooks", w.root, `{"url":"`+r.url+`","actions":["tenant.created"]}`)
	w.tenant("acme")
	w.deliver()
	path := "/v1/webhooks/" + h.ID.String()
	list := w.deliveries(path + "/deliveries")
	if len(list) == 0 {
		t.Fatal("nothing was delivered")
	}
	w.do("PATCH", path, w.root, `{"status":"disabled"}`).ok(200)
	w.do("POST", path+"/deliveries/"+list[0].ID.String()+"/redeliver", w.root, "").problem(ProblemCodeConflict)
}

package httpapi

import (
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// destruction reads a certificate with the platform's published keys.
func (w *world) destruction(certificate string) (d signing.Destruction) {
	w.t.Helper()
	var set jose.JSONWebKeySet
	w.do("GET", "/.well-known/jwks.json", "", "").ok(200, &set)
	jws, err := jose.ParseSignedCompact(certificate, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		w.t.Fatal(err)
	}
	payload, err := jws.Verify(set)
	if err != nil || jws.Signatures[0].Protected.ExtraHeaders["typ"] != signing.DestructionType {
		w.t.Fatalf("%+v: %v", jws.Signatures[0].Protected, err)
	}
	claims := struct{ Destruction *signing.Destruction }{&d}
	if err := json.Unmarshal(payload, &claims); err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestDeletionIsCertified(t *testing.T) {
	w := newWorld(t)
	auditor := w.key(tenant.PlatformAuditor, nil)
	for slug, c := range map[string]struct {
		prefer string
		status int
	}{
		"plain":      {"", 204},
		"minimal":    {"return=minimal, return=representation", 204},
		"asked":      {"return=representation", 200},
		"with-other": {`respond-async, Return="representation"; foo`, 200},
	} {
		made := w.tenant(slug)
		path := "/v1/tenants/" + made.ID.String() + "/destruction-certificate"
		w.do("GET", path, w.root, "").problem(ProblemCodeTenantNotFound)
		a := w.do("DELETE", "/v1/tenants/"+slug, w.root, "", "Prefer", c.prefer).ok(c.status)
		if c.status == 200 {
			var now DestructionCertificate
			if a.ok(200, &now); w.destruction(now.Certificate).Slug != slug || a.Header.Get("Preference-Applied") != "return=representation" {
				t.Errorf("%s: %s %v", slug, a.body, a.Header)
			}
		}
		var later DestructionCertificate
		w.do("GET", path, auditor, "").ok(200, &later)
		if d := w.destruction(later.Certificate); d.Slug != slug || d.TenantID != made.ID || len(d.Keys) != 2 || len(d.DataKeys) != 1 {
			t.Errorf("%s: %+v", slug, d)
		}
	}
	w.do("GET", "/v1/tenants/plain/destruction-certificate", w.root, "").problem(ProblemCodeNotFound)
	w.do("GET", "/v1/tenants/00000000-0000-7000-8000-000000000000/destruction-certificate?x=1", w.root, "").problem(ProblemCodeInvalidRequest)
}

package httpapi

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// relyingParty verifies tokens of a tenant as a service elsewhere would.
func (w *world) relyingParty(slug string, algorithms ...jose.SignatureAlgorithm) (*jwks.Client, *jwks.Verifier) {
	w.t.Helper()
	client, err := jwks.New(jwks.Config{URL: w.url + "/t/" + slug + "/.well-known/jwks.json", AllowHTTP: true, Now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Client: client, Issuer: testPublicURL + "/t/" + slug, AnyAudience: true, Algorithms: algorithms, Now: w.clock.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return client, verifier
}

func (w *world) sign(slug, body string) SignedToken {
	w.t.Helper()
	var signed SignedToken
	w.do("POST", "/v1/tenants/"+slug+"/tokens", w.root, body).ok(200, &signed)
	return signed
}

func (w *world) judge(slug, token string) VerifyTokenResult {
	w.t.Helper()
	var v VerifyTokenResult
	w.do("POST", "/v1/tenants/"+slug+"/tokens/verify", w.root, fmt.Sprintf(`{"token":%q}`, token)).ok(200, &v)
	return v
}

// Freeze windows at creation and by PATCH, and what keys and a dry run say of
// them.
func TestFreezeWindows(t *testing.T) {
	w := newWorld(t)
	until := time.Now().Add(35 * 24 * time.Hour).UTC().Truncate(time.Second)
	window := fmt.Sprintf(`{"from":%q,"until":%q,"reason":"year end"}`, until.Add(-20*24*time.Hour).Format(time.RFC3339), until.Format(time.RFC3339))
	var acme Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","freeze_windows":[`+window+`]}`).ok(201, &acme)
	if len(acme.FreezeWindows) != 1 || !acme.FreezeWindows[0].Until.Equal(until) || *acme.FreezeWindows[0].Reason != "year end" {
		t.Fatalf("%+v", acme)
	}
	next := func() time.Time {
		t.Helper()
		return *w.keys("acme", KeyStateActive)[0].NextTransitionAt
	}
	if !next().Equal(until) {
		t.Errorf("the next rotation is said to be at %v, want %v", next(), until)
	}
	acme = Tenant{}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme"}`).ok(200, &acme)
	if len(acme.FreezeWindows) != 1 {
		t.Errorf("another change lost the window: %+v", acme)
	}
	for body, field := range map[string]string{
		`{"freeze_windows":[{"from":"2026-12-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]}`:         "freeze_windows[0].until",
		`{"freeze_windows":[` + window + `,{"from":"2026-12-01T00:00:00Z"}]}`:                         "freeze_windows[1].until",
		`{"freeze_windows":[{"from":"2026-12-01","until":"2026-12-02T00:00:00Z"}]}`:                   "freeze_windows[0].from",
		`{"freeze_windows":[{"from":"2026-12-01T00:00:00Z","until":"2026-12-02T00:00:00Z","why":1}]}`: "freeze_windows[0].why",
	} {
		p := w.do("PATCH", "/v1/tenants/acme", w.root, body).problem(ProblemCodeInvalidRequest)
		if len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	acme = Tenant{}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"freeze_windows":null}`).ok(200, &acme)
	if len(acme.FreezeWindows) != 0 || !next().Before(until) {
		t.Errorf("cleared: %+v, next %v", acme, next())
	}
}

// A tenant's not_before, at tokens/verify and at a relying party that has the
// JWKS.
func TestNotBefore(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const set = "/t/acme/.well-known/jwks.json"
	client, verifier := w.relyingParty("acme", jose.ES256)
	old := w.sign("acme", `{"claims":{}}`)
	if _, err := verifier.Verify(t.Context(), old.Token); err != nil || !w.judge("acme", old.Token).Valid {
		t.Fatal(err)
	}
	before := w.do("GET", set, "", "").ok(200)
	if before.Header.Get("Keyward-Not-Before") != "" {
		t.Fatalf("%v", before.Header)
	}
	patch := func(at string) *answer { return w.do("PATCH", "/v1/tenants/acme", w.root, `{"not_before":`+at+`}`) }
	quoted := func(at time.Time) string { return `"` + at.UTC().Format(time.RFC3339Nano) + `"` }
	p := patch(quoted(w.clock.now().Add(2 * time.Minute))).problem(ProblemCodeInvalidRequest)
	if p.Errors[0].Field != "not_before" {
		t.Errorf("%+v", p)
	}
	epoch := old.IssuedAt.Add(time.Second / 2) // iat is in whole seconds: whatever is signed in this one is old
	patch(quoted(epoch)).ok(200)
	w.clock.pass(time.Second) // and what is signed from now on is not

	next := w.do("GET", set, "", "").ok(200)
	if got, want := next.Header.Get("Keyward-Not-Before"), fmt.Sprint(old.IssuedAt.Unix()+1); got != want || next.Header.Get("ETag") == before.Header.Get("ETag") {
		t.Errorf("%s, want %s: %v", got, want, next.Header)
	}
	w.do("GET", set, "", "", "If-None-Match", before.Header.Get("ETag")).ok(200)
	for _, a := range []*answer{w.do("GET", set, "", "", "If-None-Match", next.Header.Get("ETag")).ok(304), w.do("HEAD", set, "", "").ok(200)} {
		if a.Header.Get("Keyward-Not-Before") != next.Header.Get("Keyward-Not-Before") {
			t.Errorf("%d: %v", a.StatusCode, a.Header)
		}
	}
	if v := w.judge("acme", old.Token); v.Valid || *v.Code != VerifyCodeExpired {
		t.Errorf("%+v", v)
	}
	if err := client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), old.Token); !errors.Is(err, jwks.ErrIssuedBefore) {
		t.Errorf("%v", err)
	}
	fresh := w.sign("acme", `{"claims":{}}`)
	if _, err := verifier.Verify(t.Context(), fresh.Token); err != nil || !w.judge("acme", fresh.Token).Valid {
		t.Errorf("a new token: %v", err)
	}

	for _, back := range []string{quoted(epoch.Add(-time.Hour)), "null"} { // allowed, and audited
		patch(back).ok(200)
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(t.Context(), old.Token); err != nil || !w.judge("acme", old.Token).Valid {
			t.Errorf("moved to %s: %v", back, err)
		}
	}
	var events AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?action=tenant.updated", w.root, "").ok(200, &events)
	if len(events.Items) != 3 {
		t.Errorf("%d changes are audited, want 3", len(events.Items))
	}
}

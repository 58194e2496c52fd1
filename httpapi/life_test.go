package httpapi

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// A tenant's whole life through the API, every operation at least once.
func TestLifeOfATenant(t *testing.T) {
	w := newWorld(t)
	var acme Tenant
	a := w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","name":"Acme & Co","clock_skew_seconds":30,
		"policies":[{"alg":"ES256","default":true},{"alg":"EdDSA","max_token_ttl_seconds":600,"default_token_ttl_seconds":60}]}`).ok(201, &acme)
	if a.Header.Get("Location") != "/v1/tenants/acme" || acme.Issuer != testPublicURL+"/t/acme" || acme.ClockSkewSeconds != 30 {
		t.Fatalf("%s %+v", a.Header, acme)
	}
	for _, ref := range []string{"acme", acme.ID.String()} {
		var got Tenant
		w.do("GET", "/v1/tenants/"+ref, w.root, "").ok(200, &got)
		if got.ID != acme.ID || got.Name != "Acme & Co" {
			t.Fatalf("%+v", got)
		}
	}
	for _, s := range []KeyState{KeyStateActive, KeyStateStandby} {
		if n := len(w.keys("acme", s)); n != 2 {
			t.Fatalf("%d keys are %s", n, s)
		}
	}
	w.policies()
	w.tokens(acme)
	w.moves()
	w.ends(acme)
}

func (w *world) policies() {
	w.t.Helper()
	var p Policy
	w.do("PUT", "/v1/tenants/acme/policies/PS256", w.root, `{"rsa_bits":3072}`).ok(201, &p)
	if *p.RSABits != 3072 || p.Default {
		w.t.Fatalf("%+v", p)
	}
	w.do("PUT", "/v1/tenants/acme/policies/ES256", w.root, `{"rotation_interval_seconds":0}`).ok(200, &p)
	if !p.Default || p.RotationIntervalSeconds != 0 {
		w.t.Fatalf("an absent default did not stay: %+v", p)
	}
	var list PolicyList
	w.do("GET", "/v1/tenants/acme/policies", w.root, "").ok(200, &list)
	if len(list.Items) != 3 || list.Items[0].Alg != "ES256" {
		w.t.Fatalf("%+v", list)
	}
	for _, p := range list.Items { // what is read may be edited and written back
		body, err := json.Marshal(p)
		if err != nil {
			w.t.Fatal(err)
		}
		w.do("PUT", "/v1/tenants/acme/policies/"+string(p.Alg), w.root, string(body)).ok(200)
	}
	w.do("DELETE", "/v1/tenants/acme/policies/ES256", w.root, "").problem(ProblemCodeConflict)
	w.do("DELETE", "/v1/tenants/acme/policies/PS256", w.root, "").ok(204)
	w.do("DELETE", "/v1/tenants/acme/policies/PS256", w.root, "").problem(ProblemCodeNotFound)
}

func (w *world) tokens(acme Tenant) {
	w.t.Helper()
	var signed SignedToken
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{"sub":"alice","aud":"api","big":12345678901234567890},"nbf":true,"headers":{"x":1}}`).ok(200, &signed)
	var v VerifyTokenResult
	w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, fmt.Sprintf(`{"token":%q,"audience":"api","typ":"jwt"}`, signed.Token)).ok(200, &v)
	var claims struct {
		ISS, JTI string
		NBF, IAT int64
		Big      json.Number
	}
	if err := json.Unmarshal(*v.Claims, &claims); err != nil {
		w.t.Fatal(err)
	}
	if !v.Valid || *v.KID != signed.KID || claims.ISS != acme.Issuer || claims.JTI == "" || claims.NBF != claims.IAT || claims.Big != "12345678901234567890" {
		w.t.Fatalf("%+v %+v", v, claims)
	}
	w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, `{"token":"rubbish"}`).ok(200, &v)
	if v.Valid || *v.Code != VerifyCodeMalformed {
		w.t.Fatalf("%+v", v)
	}
	var batch SignTokensResult
	w.do("POST", "/v1/tenants/acme/tokens/batch", w.root,
		`{"tokens":[{"claims":{"sub":"a"}},{"claims":[]},{"claims":{},"ttl_seconds":99999999},{"claims":{},"alg":"EdDSA"},{"algo":1}]}`).ok(200, &batch)
	codes := []ProblemCode{"", "invalid_request", "policy_violation", "", "invalid_request"}
	for i, r := range batch.Results {
		if (r.Token != nil) != (codes[i] == "") || r.Error != nil && r.Error.Code != codes[i] {
			w.t.Errorf("entry %d: %+v", i, r)
		}
	}
	var jws SignedPayload
	w.do("POST", "/v1/tenants/acme/sign", w.root, `{"payload":"SGVsbG8","detached":true,"b64":false,"typ":"x"}`).ok(200, &jws)
	if jws.KID != signed.KID {
		w.t.Fatalf("%+v", jws)
	}
}

func (w *world) moves() {
	w.t.Helper()
	before := w.state()
	var preview RotatePreview
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"dry_run":true}`).ok(200, &preview)
	if w.state() != before || len(preview.Timeline) < 3 {
		w.t.Fatalf("dry_run: %+v", preview)
	}
	standby := w.keys("acme", KeyStateStandby)
	var done RotateResult
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"alg":"ES256","reason":"drill"}`).ok(200, &done)
	var found Key
	w.do("GET", "/v1/tenants/acme/keys/"+done.Active.KID, w.root, "").ok(200, &found)
	if found.State != KeyStateActive || found.KID != standby[0].KID && found.KID != standby[1].KID {
		w.t.Fatalf("%+v", found)
	}
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200, &done) // no body: the default policy's
	var gone RevokeResult
	w.do("POST", "/v1/tenants/acme/keys/"+done.Active.KID+"/revoke", w.root, `{"reason":"compromised","comment":"drill"}`).ok(200, &gone)
	if *gone.Mode != RevocationModeFresh || gone.Replacement == nil || len(gone.TrustedUntil) < 3 || gone.Key.RevokedAt == nil {
		w.t.Fatalf("%+v", gone)
	}
	w.do("POST", "/v1/tenants/acme/keys/"+done.Active.KID+"/revoke", w.root, `{"reason":"compromised"}`).problem(ProblemCodeInvalidTransition)
	var purged PurgeResult
	w.do("POST", "/v1/tenants/acme/keys/purge", w.root, `{}`).ok(200, &purged)
	if len(purged.Purged) == 0 {
		w.t.Fatal("nothing was purged")
	}
	var all RevokeAllResult
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"superseded"}`).ok(200, &all)
	if len(all.Active) != 2 || len(all.Standby) != 2 || len(all.Revoked) < 4 {
		w.t.Fatalf("%+v", all)
	}
	var key DataKey
	w.do("POST", "/v1/tenants/acme/data-key/rotate", w.root, "").ok(200, &key)
	if key.Version != 2 || key.Resealed != 4 {
		w.t.Fatalf("%+v", key)
	}
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200)
}

func (w *world) ends(acme Tenant) {
	w.t.Helper()
	var changed Tenant
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended","custom_domain":"ID.acme.example","not_before":"2026-01-01T00:00:00Z"}`).ok(200, &changed)
	if d, _ := changed.CustomDomain.Get(); d != "id.acme.example" || changed.Status != "suspended" || changed.NotBefore == nil {
		w.t.Fatalf("%+v", changed)
	}
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).problem(ProblemCodeTenantSuspended)
	w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	changed = Tenant{}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"active","custom_domain":null,"not_before":null,"clock_skew_seconds":null,"name":null}`).ok(200, &changed)
	if !changed.CustomDomain.IsNull() || changed.NotBefore != nil || changed.ClockSkewSeconds != 60 || changed.Name != "" {
		w.t.Fatalf("%+v", changed)
	}
	var v AuditVerification
	w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v)
	var events AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?order=asc&limit=1", w.root, "").ok(200, &events)
	if !v.Intact || v.Events < 20 || events.Items[0].Action != "tenant.created" || events.NextCursor == nil {
		w.t.Fatalf("%+v %+v", v, events)
	}
	w.do("GET", "/v1/tenants/acme/audit?order=asc&limit=1&cursor="+*events.NextCursor, w.root, "").ok(200, &events)
	if events.Items[0].Seq != 2 || events.Items[0].Actor.Name != "root" || *events.Items[0].RequestID == "" {
		w.t.Fatalf("%+v", events)
	}
	since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	w.do("GET", "/v1/tenants/acme/audit?action=key.revoked&actor=root&since="+since, w.root, "").ok(200, &events)
	if len(events.Items) == 0 {
		w.t.Fatal("no revocations")
	}
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	for _, path := range []string{"/v1/tenants/acme", "/v1/tenants/" + acme.ID.String(), "/v1/tenants/acme/audit", "/t/acme/.well-known/jwks.json", "/t/" + acme.ID.String() + "/.well-known/openid-configuration"} {
		w.do("GET", path, w.root, "").problem(ProblemCodeTenantNotFound)
	}
	w.do("GET", "/v1/audit?limit=1&tenant="+acme.ID.String(), w.root, "").ok(200, &events)
	if events.Items[0].Action != "tenant.deleted" {
		w.t.Fatalf("%+v", events)
	}
	w.do("GET", "/v1/audit?tenant=acme", w.root, "").problem(ProblemCodeTenantNotFound)
	w.tenant("acme") // the slug is free again
}

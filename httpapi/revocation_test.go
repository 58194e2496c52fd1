package httpapi

import (
	"slices"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// Who has just looked at a key and revokes it waits for PostgreSQL three times:
// credential and tenant are in memory.
func TestARevocationAsksTheDatabaseThreeTimes(t *testing.T) {
	proxy := dbtest.CountRoundTrips(t, dbtest.New(t))
	w := newWorldOn(t, proxy.DSN)
	w.tenant("acme")
	fewest := int64(1 << 62) // the listener asks something too, now and then
	for range 10 {
		w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200) // evidence that is not written yet
		kid := w.keys("acme", KeyStateActive)[0].KID
		before := proxy.Count()
		var out RevokeResult
		w.do("POST", "/v1/tenants/acme/keys/"+kid+"/revoke", w.root, `{"reason":"compromised"}`).ok(200, &out)
		fewest = min(fewest, proxy.Count()-before)
		if out.BreaksTokensUntil == nil || out.Key.LastSignedAt == nil {
			t.Fatal("the answer does not know of a token that was signed a moment ago")
		}
	}
	if fewest > 3 {
		t.Errorf("%d round trips, want at most 3", fewest)
	}
}

// In an incident the key that signs is revoked without its name: the one of the policy
// that was meant and no other, and at each request another one.
func TestTheActiveKeyIsRevokedWithoutItsName(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA"}]}`).ok(201)
	const path = "/v1/tenants/acme/keys/revoke"
	active := func(alg string) string {
		for _, k := range w.keys("acme", KeyStateActive) {
			if string(k.Alg) == alg {
				return k.KID
			}
		}
		t.Fatalf("nothing signs with %s", alg)
		return ""
	}
	es, ed := active("ES256"), active("EdDSA")
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200)

	var would, out RevokeResult
	w.unchanged("POST", path+"?dry_run=true", `{"reason":"superseded","alg":"EdDSA"}`, &would)
	if would.Key.KID != ed || !valueOr(would.DryRun, false) {
		t.Errorf("a dry run for EdDSA is about %s, want %s", would.Key.KID, ed)
	}
	w.do("POST", path, w.root, `{"reason":"compromised","comment":"leaked"}`).ok(200, &out)
	if out.Key.KID != es || out.Key.State != KeyStateRevoked || valueOr(out.Mode, "") != RevocationModeFresh || out.Replacement == nil || out.BreaksTokensUntil == nil {
		t.Errorf("the default policy: %+v, want %s revoked for a fresh key, and its token known", out, es)
	}
	next := active("ES256")
	if next != out.Replacement.KID || active("EdDSA") != ed {
		t.Errorf("%s and %s sign, want %s and %s", next, active("EdDSA"), out.Replacement.KID, ed)
	}
	w.do("POST", path, w.root, `{"reason":"superseded","alg":"ES256","mode":"standby"}`).ok(200, &out)
	if out.Key.KID != next || valueOr(out.Mode, "") != RevocationModeStandby || slices.Contains(w.published("acme"), next) {
		t.Errorf("by algorithm: %+v, want %s revoked", out, next)
	}
	w.do("POST", path, w.root, `{"reason":"superseded","alg":"RS256"}`).problem(ProblemCodePolicyViolation)
	w.do("POST", path, w.root, `{"reason":"superseded","alg":"HS256"}`).problem(ProblemCodeInvalidRequest)
	w.do("POST", path, w.root, `{"alg":"ES256"}`).problem(ProblemCodeInvalidRequest)
	w.do("POST", "/v1/tenants/nobody/keys/revoke", w.root, `{"reason":"superseded"}`).problem(ProblemCodeTenantNotFound)
}

// A token says what it is for: the profile decides its typ and demands its claims,
// alone, in a batch, and read by either reader of bodies.
func TestProfilesOfTokens(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path = "/v1/tenants/acme/tokens"
	for body, typ := range map[string]string{
		`{"claims":{"sub":"u","aud":"api","client_id":"c"},"profile":"access_token"}`:                   "at+jwt",
		`{"claims":{"sub":"u","aud":"api","client_id":"c"},"profile":"access_token","headers":{"x":1}}`: "at+jwt",
		`{"claims":{"sub":"u","aud":["c"]},"profile":"id_token"}`:                                       "JWT",
	} {
		var signed SignedToken
		var batch SignTokensResult
		var v VerifyTokenResult
		w.do("POST", path, w.root, body).ok(200, &signed)
		w.do("POST", path+"/batch", w.root, `{"tokens":[`+body+`]}`).ok(200, &batch)
		for _, token := range []string{signed.Token, valueOr(batch.Results[0].Token, "")} {
			w.do("POST", path+"/verify", w.root, `{"token":"`+token+`","typ":"`+typ+`"}`).ok(200, &v)
			if !v.Valid {
				t.Errorf("%s: %+v", body, v)
			}
		}
	}
	for body, field := range map[string]string{
		`{"claims":{"sub":"u","aud":"api"},"profile":"access_token"}`:                             "claims.client_id",
		`{"claims":{"aud":"api"},"profile":"id_token"}`:                                           "claims.sub",
		`{"claims":{"sub":"u"},"profile":"id_token"}`:                                             "claims.aud",
		`{"claims":{"sub":"u","aud":"api","client_id":"c"},"profile":"access_token","typ":"JWT"}`: "typ",
		`{"claims":{"sub":"u","aud":"api"},"profile":"id_token","typ":"application/at+jwt"}`:      "typ",
		`{"claims":{},"profile":"saml"}`:                                                          "profile",
		`{"claims":{},"profile":""}`:                                                              "profile",
		`{"claims":{},"profile":"id_token","headers":{"x":1}}`:                                    "claims.sub",
	} {
		p := w.do("POST", path, w.root, body).problem(ProblemCodeInvalidRequest)
		if p.Errors == nil || p.Errors[0].Field != field {
			t.Errorf("%s: %+v, want %s", body, p, field)
		}
	}
}

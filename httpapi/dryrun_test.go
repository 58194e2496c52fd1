package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// unchanged demands that a request is answered and changes nothing but the
// evidence that is written down meanwhile.
func (w *world) unchanged(method, path, body string, into any) {
	w.t.Helper()
	before := w.state()
	w.do(method, path, w.root, body).ok(200, into)
	if w.state() != before {
		w.t.Errorf("%s %s %s changed something", method, path, body)
	}
}

func kidsOf(set JWKSet) []string {
	var kids []string
	for _, k := range set.Keys {
		var named struct{ KID string }
		_ = json.Unmarshal(k, &named) // without a kid it is found nowhere
		kids = append(kids, named.KID)
	}
	return kids
}

// find is the first step of a timeline by which the key, or one that is not
// made yet, comes to a state.
func find(timeline []TimelineStep, kid string, to KeyState) *TimelineStep {
	for i, step := range timeline {
		if valueOr(step.KID, "") == kid && valueOr(step.ToState, "") == to {
			return &timeline[i]
		}
	}
	return nil
}

func (w *world) published(slug string) []string {
	w.t.Helper()
	var set JWKSet
	w.do("GET", "/t/"+slug+"/.well-known/jwks.json", "", "").ok(200, &set)
	return kidsOf(set)
}

// A policy is tried before it is stored: the answer is what then comes true.
func TestPolicyDryRun(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path = "/v1/tenants/acme/policies/"
	active, standby := w.keys("acme", KeyStateActive)[0], w.keys("acme", KeyStateStandby)[0]

	var would PolicyPreview
	body := `{"rotation_interval_seconds":604800,"publish_lead_seconds":3600,"max_token_ttl_seconds":3600}`
	w.unchanged("PUT", path+"ES256?dry_run=true", body, &would)
	w.do("PUT", path+"ES256", w.root, body).ok(200)
	next := *w.keys("acme", KeyStateActive)[0].NextTransitionAt
	step := find(would.Timeline, standby.KID, KeyStateActive)
	if would.Created || would.Policy.RotationIntervalSeconds != 604800 || !would.Policy.Default || step == nil || !step.At.Equal(next) ||
		find(would.Timeline, active.KID, KeyStateDeprecated) == nil {
		t.Errorf("said %+v, came %v", would, next)
	}

	var added PolicyPreview
	w.unchanged("PUT", path+"RS256?dry_run=true", `{"default":true}`, &added)
	if !added.Created || !added.Policy.Default || *added.Policy.RSABits != 2048 || find(added.Timeline, "", KeyStateActive) == nil ||
		!reflect.DeepEqual(kidsOf(added.JWKSBefore), w.published("acme")) || len(added.JWKSAfter.Keys) != 2 {
		t.Errorf("%+v", added)
	}
	for _, query := range []string{"", "?dry_run=true"} { // the same errors
		w.do("PUT", path+"ES256"+query, w.root, `{"publish_lead_seconds":1}`).problem(ProblemCodePolicyViolation)
		w.do("PUT", path+"ES256"+query, w.root, `{"default":false}`).problem(ProblemCodePolicyViolation)
		w.do("PUT", path+"ES256"+query, w.root, `{"x":1}`).problem(ProblemCodeInvalidRequest)
		w.do("DELETE", path+"ES256"+query, w.root, "").problem(ProblemCodeConflict)
		w.do("DELETE", path+"RS256"+query, w.root, "").problem(ProblemCodeNotFound)
	}
	w.do("PUT", path+"ES256?dry_run=perhaps", w.root, `{}`).problem(ProblemCodeInvalidRequest)

	w.do("PUT", path+"EdDSA", w.root, `{"default":true}`).ok(201)
	var gone RetirePreview
	w.unchanged("DELETE", path+"ES256?dry_run=true", "", &gone)
	w.do("DELETE", path+"ES256", w.root, "").ok(204)
	var left Key
	w.do("GET", "/v1/tenants/acme/keys/"+active.KID, w.root, "").ok(200, &left)
	step = find(gone.Timeline, active.KID, KeyStateExpired)
	if step == nil || step.At.Sub(*left.ExpiresAt).Abs() > time.Minute || find(gone.Timeline, standby.KID, KeyStateRevoked) == nil ||
		!reflect.DeepEqual(kidsOf(gone.JWKSAfter), w.published("acme")) {
		t.Errorf("said %+v, came %+v", gone, left)
	}
}

// Keys that a lower cap would crowd out are said to leave.
func TestPolicyDryRunCrowdsOut(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","policies":[{"alg":"ES256","max_token_ttl_seconds":60,"default_token_ttl_seconds":60}]}`).ok(201)
	for range 3 {
		w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	}
	w.clock.pass(time.Hour)
	var would PolicyPreview
	w.unchanged("PUT", "/v1/tenants/acme/policies/ES256?dry_run=true", `{"max_published_keys":3,"max_token_ttl_seconds":60,"default_token_ttl_seconds":60}`, &would)
	if len(would.JWKSBefore.Keys) != 5 || len(would.JWKSAfter.Keys) != 3 {
		t.Errorf("%d keys now, %d then", len(would.JWKSBefore.Keys), len(would.JWKSAfter.Keys))
	}
}

// A revocation of all keys that needs a second person is tried without one, and
// what is tried cannot be the way around them.
func TestDryRunAndApproval(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	const path = "/v1/tenants/acme/keys/revoke-all"
	real := w.request("POST", path, first, `{"reason":"compromised"}`)
	w.decided(real, second, "approve").ok(200)
	for _, header := range [][]string{nil, bringing(real), {"Keyward-Approval", nowhere}} {
		for query, body := range map[string]string{"?dry_run=true": `{"reason":"compromised"}`, "": `{"reason":"compromised","dry_run":true}`} {
			before := w.state()
			var would RevokeAllResult
			w.do("POST", path+query, first, body, header...).ok(200, &would)
			if w.state() != before || !valueOr(would.DryRun, false) || len(would.Revoked) != 2 || len(would.Active) != 0 {
				t.Errorf("%s %s %v: %+v", query, body, header, would)
			}
		}
	}
	const kids = `SELECT string_agg(k::text, ' ' ORDER BY kid) FROM keys k`
	before := scalar[string](w, kids)
	for _, around := range []struct {
		path, body string
		status     int
	}{
		{path + "?dry_run=false", `{"reason":"compromised"}`, 202},
		{path, `{"reason":"compromised","dry_run":false}`, 202},
		{path, `{"reason":"compromised","dry_run":null}`, 400},
		{path + "?dry_run=true", `{"reason":"compromised","dry_run":false}`, 400},
		{path + "?dry_run=false", `{"reason":"compromised","dry_run":true}`, 400},
		{path + "?dry_run=true&dry_run=false", `{"reason":"compromised"}`, 400},
		{path + "?dry_run=false&dry_run=true", `{"reason":"compromised"}`, 400},
		{path + "?dry_run=", `{"reason":"compromised"}`, 400},
		{path + "?Dry_Run=true", `{"reason":"compromised"}`, 400},
		{path, `{"reason":"compromised","dry_run":true,"dry_run":false}`, 400},
		{path, `{"reason":"compromised","dry_run":false,"dry_run":true}`, 400},
		{path, `{"reason":"compromised","Dry_Run":true}`, 400},
		{"/v1/tenants/acme/keys/purge?dry_run=true", `{}`, 400}, // which has no dry run
		{"/v1/tenants/acme/keys/purge", `{"dry_run":true}`, 400},
	} {
		if a := w.do("POST", around.path, first, around.body); a.StatusCode != around.status {
			t.Errorf("%s %s: %d, want %d", around.path, around.body, a.StatusCode, around.status)
		}
		if scalar[string](w, kids) != before {
			t.Fatalf("%s %s changed keys without approval", around.path, around.body)
		}
	}
	w.do("POST", path, first, `{"reason":"compromised"}`, bringing(real)...).ok(200) // still unspent
}

// Rotation and revocation are tried in the query or in the body.
func TestKeyDryRuns(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const keys = "/v1/tenants/acme/keys/"
	signed := w.sign("acme", `{"claims":{},"ttl_seconds":600}`)
	standby := w.keys("acme", KeyStateStandby)[0]
	for _, how := range [][2]string{{"?dry_run=true", ""}, {"", `"dry_run":true`}, {"?dry_run=true", `"dry_run":true`}} {
		rest := how[1]
		if rest != "" {
			rest = "," + rest
		}
		var rotation RotatePreview
		w.unchanged("POST", keys+"rotate"+how[0], `{"alg":"ES256"`+rest+`}`, &rotation)
		if step := find(rotation.Timeline, standby.KID, KeyStateActive); step == nil {
			t.Errorf("%+v", rotation)
		}
		for mode, replaced := range map[RevocationMode]bool{RevocationModeFresh: false, RevocationModeStandby: true} {
			var gone RevokeResult
			w.unchanged("POST", keys+signed.KID+"/revoke"+how[0], fmt.Sprintf(`{"reason":"superseded","mode":%q%s}`, mode, rest), &gone)
			if *gone.Mode != mode || gone.Key.State != KeyStateRevoked || !*gone.DryRun || len(gone.TrustedUntil) < 3 ||
				gone.BreaksTokensUntil == nil || !gone.BreaksTokensUntil.Equal(signed.ExpiresAt) ||
				(gone.Replacement != nil) != replaced || replaced && gone.Replacement.KID != standby.KID {
				t.Errorf("%+v", gone)
			}
		}
		var all RevokeAllResult
		w.unchanged("POST", keys+"revoke-all"+how[0], `{"reason":"compromised"`+rest+`}`, &all)
		if len(all.Revoked) != 2 || len(all.Active) != 0 || !*all.DryRun || !all.BreaksTokensUntil.Equal(signed.ExpiresAt) || len(all.TrustedUntil) < 3 {
			t.Errorf("%+v", all)
		}
	}
	for _, path := range []string{"rotate", signed.KID + "/revoke", "revoke-all"} {
		body := map[bool]string{true: `{"dry_run":false}`, false: `{"reason":"superseded","dry_run":false}`}[path == "rotate"]
		if p := w.do("POST", keys+path+"?dry_run=true", w.root, body).problem(ProblemCodeInvalidRequest); p.Errors[0].Field != "dry_run" {
			t.Errorf("%+v", p)
		}
	}
	w.do("POST", keys+"none/revoke?dry_run=true", w.root, `{"reason":"superseded"}`).problem(ProblemCodeKeyNotFound)

	var gone RevokeResult // and the real thing says the same
	w.do("POST", keys+signed.KID+"/revoke", w.root, `{"reason":"superseded"}`).ok(200, &gone)
	if gone.DryRun != nil || !gone.BreaksTokensUntil.Equal(signed.ExpiresAt) || gone.Key.LastSignedAt == nil {
		t.Errorf("%+v", gone)
	}
	w.do("POST", keys+signed.KID+"/revoke?dry_run=true", w.root, `{"reason":"superseded"}`).problem(ProblemCodeInvalidTransition)
}

package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

// An administrator of the platform finds who publishes a key by its kid, an algorithm or the
// time when it was made, and gets what to do in order, with the values filled in.
func TestConsoleIncidentOfAllTenants(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	w.do("PUT", "/v1/tenants/other/policies/RS256", w.root, `{"rsa_bits":2048}`).ok(201)
	s := w.signedIn(w.root)
	active, standby := w.keys("acme", KeyStateActive)[0].KID, w.keys("acme", KeyStateStandby)[0].KID
	const page = "/console/incident"

	s.get(page).is(http.StatusOK).has("Find the keys").lacks("keyward key revoke", "Revoke…")
	found := s.get(page+"?kid="+active).is(http.StatusOK).has("1 tenant", "publishes such keys", "acme", "act/revoke?kid="+active+"&amp;mode=fresh&amp;reason=compromised",
		"keyward key revoke --tenant acme --reason compromised --mode fresh -- &#39;"+active+"&#39;").lacks("other", standby)
	s.get(page + "?kid=" + active + "x").has("No tenant publishes a key with this kid")

	// By algorithm: both kinds of reason have an order of their own.
	rsa := s.get(page+"?alg=RS256").has("1 tenant", "other", "--tenant other").lacks("acme")
	if n := strings.Count(rsa.Body, "keyward key revoke"); n != 2 {
		t.Errorf("%d commands for two keys", n)
	}
	replaced := s.get(page+"?alg=ES256&q=acme&reason=superseded").has("act/rotate?alg=ES256", "keyward key rotate --tenant acme --alg ES256", "In this order no token in use breaks").lacks("mode=fresh", "--mode", "Suspend…")
	if strings.Index(replaced.Body, "act/revoke?kid="+standby) > strings.Index(replaced.Body, "act/rotate?alg=ES256") {
		t.Error("the active key is replaced by a standby that is to be replaced as well")
	}

	_, commands, _ := strings.Cut(replaced.Body, `<pre id="commands"`)
	revokes, waits, rotates := strings.Index(commands, "key revoke"), strings.Index(commands, "# Once the new standby keys"), strings.Index(commands, "key rotate")
	if revokes < 0 || waits < revokes || rotates < waits {
		t.Errorf("the commands rotate to a key that no verifier knows: %s", commands)
	}

	// By time: what was made since is left out.
	s.get(page+"?before=2020-01-01T00:00").has("None of the", "looked at").lacks("keyward key revoke")
	s.get(page + "?before=yesterday").has("Not a time")
	made := w.keys("acme", KeyStateActive)[0].CreatedAt
	w.clock.pass(48 * time.Hour)
	s = w.signedIn(w.root)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	w.tenant("younger")
	young := w.keys("acme", KeyStateStandby)[0].KID
	s.get(page+"?before="+url.QueryEscape(made.Add(time.Minute).Format("2006-01-02T15:04"))).has(active, standby, "acme", "other").lacks(young, "younger")

	// The links lead to dry runs with the values filled in.
	_, link, _ := strings.Cut(found.Body, `href="/console/tenants/acme/act/revoke?`)
	link, _, _ = strings.Cut(link, `"`)
	s.get("/console/tenants/acme/act/revoke?"+strings.ReplaceAll(link, "&amp;", "&")).is(http.StatusOK).has("This is a dry run", active)

	// Who may not act gets no acts, who is of a tenant nothing of others.
	s = w.signedIn(w.key(tenant.PlatformAuditor, nil))
	s.get(page+"?kid="+active).is(http.StatusOK).has("acme").lacks("act/revoke", "keyward key revoke")
	if p := w.signedIn(w.key(tenant.TenantAdmin, &other.ID)).get(page + "?kid=" + active); strings.Contains(p.Body, "acme") || strings.Contains(p.Body, acme.ID.String()) {
		t.Errorf("%s tells of acme", p.Path)
	}
}

// A kid that more tenants publish than a page shows: the page and its commands say so, and the
// text searches among those that are shown.
func TestConsoleIncidentOfAKeyThatManyTenantsPublish(t *testing.T) {
	w := newWorld(t)
	pem := foreignEC(t).pem
	body, err := json.Marshal(map[string]string{"private_key": pem, "alg": "ES256", "kid": "shared"})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(slug string) {
		w.tenant(slug)
		w.do("POST", "/v1/tenants/"+slug+"/keys/import", w.root, string(body)).ok(201)
	}
	for i := range 20 {
		publish(fmt.Sprintf("held-%02d", i))
	}
	s := w.signedIn(w.root)
	const page = "/console/incident?kid=shared"
	s.get(page).is(http.StatusOK).has("20 tenants", "publish such keys").lacks("More tenants publish this key")
	s.get(page+"&q=LD-07").has("1 tenant", "held-07").lacks("held-08", "More tenants publish this key")
	s.get(page + "&q=nobody").has("None of the tenants that publish a key with this kid matches")
	publish("one-more")
	s.get(page).has("20 tenants", "More tenants publish this key</strong>", "# More tenants publish this key")
}

// A page of tenants with many keys stays small, and says what it leaves out.
func TestConsoleIncidentOfManyKeys(t *testing.T) {
	w := newWorld(t)
	for i := range 8 {
		w.do("POST", "/v1/tenants", w.root, fmt.Sprintf(`{"slug":"many-%d","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA"},{"alg":"ES384"},{"alg":"ES512"},{"alg":"Ed25519"},{"alg":"ML-DSA-44"},{"alg":"ML-DSA-65"}]}`, i)).ok(201)
	}
	p := w.signedIn(w.root).get("/console/incident?q=many-").is(http.StatusOK).has("8 tenants", "2 more keys", "14 more keys", "not among the commands")
	if n := strings.Count(p.Body, "keyward key revoke"); n != 60 || len(p.Body) > 100_000 {
		t.Errorf("%d commands in %d bytes", n, len(p.Body))
	}
}

// A key that two tenants have imported is found at both, a kid that a shell would read stays one word.
func TestConsoleIncidentOfAnImportedKey(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	pem := foreignEC(t).pem
	const kid = `it's $(here) & "there"`
	body, err := json.Marshal(map[string]string{"private_key": pem, "alg": "ES256", "kid": kid})
	if err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"acme", "other"} {
		w.do("POST", "/v1/tenants/"+slug+"/keys/import", w.root, string(body)).ok(201)
	}
	s := w.signedIn(w.root)
	s.get("/console/incident?kid="+url.QueryEscape(kid)).has("2 tenants", "publish such keys", "--tenant acme", "--tenant other", `-- &#39;it&#39;\&#39;&#39;s $(here) &amp; &#34;there&#34;&#39;`)
	w.do("DELETE", "/v1/tenants/other", w.root, "").ok(204)
	s.get("/console/incident?kid="+url.QueryEscape(kid)).has("1 tenant", "--tenant acme").lacks("--tenant other")
}

// A revocation leads to a page with an address: whoever may read the history sees there what was
// done and how far it is, also later.
func TestConsoleRevocationHasAnAddress(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	w.sign("acme", `{"claims":{"sub":"u"},"ttl_seconds":80000}`)
	if err := w.signer.FlushEvidence(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.signedIn(w.root)
	const base = "/console/tenants/acme"
	kid := w.keys("acme", KeyStateActive)[0].KID
	dry := s.get(base + "/act/revoke?kid=" + kid)
	done := s.post(base+"/act/revoke", append(dry.hidden(base+"/act/revoke"), "comment", "found in a build log")...).is(http.StatusOK).has(
		"Done", "1 of 1 replica", "What to tell those who run verifiers", "To do: restart these verifiers, if you use them: coreos go-oidc", "found in a build log", "compromised", "are refused", "or at the first token of the fresh key")
	if want := base + "/revoked?kid=" + kid + "&done=1"; done.Path != want {
		t.Errorf("the address is %s, want %s", done.Path, want)
	}
	now := w.keys("acme", KeyStateActive)[0].KID
	if now == kid {
		t.Fatal("not revoked")
	}
	for _, role := range []tenant.Role{tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor} {
		colleague := w.signedIn(w.key(role, &acme.ID))
		before := w.state()
		colleague.get(base+"/revoked?kid="+kid).is(http.StatusOK).has("Out of the JWKS", "Signs now", now, "May still be trusted", "caches: until", "1 of 1 replica").lacks("<strong>Done</strong>")
		if w.state() != before {
			t.Errorf("%s: looking at it has changed something", role)
		}
	}
	w.signedIn(w.key(tenant.TenantSigner, &acme.ID)).get(base + "/revoked?kid=" + kid).is(http.StatusForbidden)
	w.signedIn(w.key(tenant.TenantAdmin, &other.ID)).get(base + "/revoked?kid=" + kid).is(http.StatusNotFound)
	s.get(base + "/revoked?kid=" + now).is(http.StatusNotFound).has("This key was not revoked")
	s.get(base + "/revoked?kid=nobody").is(http.StatusNotFound)

	// The same form again is the same request, and leads to the same page.
	all := s.get(base + "/act/revoke-all")
	fields := append(all.hidden(base+"/act/revoke-all"), "reason", "compromised", "confirm", "acme")
	mass := s.post(base+"/act/revoke-all", fields...).is(http.StatusOK).has("Done", "keys revoked", "1 of 1 replica")
	if n := len(w.keys("acme", KeyStateRevoked)); n != 3 || !strings.Contains(mass.Body, "2 keys revoked") {
		t.Errorf("%d keys are revoked:\n%s", n, mass.Body)
	}

	// Whichever of its keys the address names, the first token of a fresh key ends the trust.
	for _, k := range w.keys("acme", KeyStateRevoked) {
		if k.KID == kid {
			continue // by a request of its own
		}
		s.get(base+"/revoked?kid="+k.KID).has("2 keys revoked", "or at the first token of the fresh key")
	}

	// What takes over is told for a standby as well, without the hope for a fresh key's token.
	kid = w.keys("acme", KeyStateActive)[0].KID
	dry = s.get(base + "/act/revoke?mode=standby&reason=superseded&kid=" + kid)
	s.post(base+"/act/revoke", dry.hidden(base+"/act/revoke")...).has("superseded", w.keys("acme", KeyStateActive)[0].KID).lacks("first token of the fresh key")
}

package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// past runs SQL as a superuser whom no trigger stops.
func (w *world) past(sql string) {
	w.t.Helper()
	dbtest.Exec(w.t, w.dsn, "SET session_replication_role = replica; "+sql)
	w.server.cfg.caches().Missed() // as after a restart
	w.tenants.Invalidate()
	w.snapshots.InvalidateAll()
}

// forgedKey returns the text of an API key that this test has made up, with its id
// and the SQL expression of its hash.
func forgedKey() (key string, id uuid.UUID, hash string) {
	id = uuid.New()
	key = "kw_" + strings.ReplaceAll(id.String(), "-", "") + "_" + strings.Repeat("a", 52)
	return key, id, "sha256('" + key + "')"
}

// A row in api_keys is no credential because it is there: not an inserted one, not one
// with an event, not one with another row's code, not one that was changed.
func TestInsertedCredentialIsRefused(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	signer := w.key(tenant.TenantSigner, &acme.ID)
	theirs := w.key(tenant.TenantAdmin, &other.ID)
	idOf := func(key string) string { return uuid.MustParse(key[3:35]).String() }
	key, id, hash := forgedKey()
	insert := func(mac string) string {
		return fmt.Sprintf(`DELETE FROM api_keys WHERE id = '%[1]s'; INSERT INTO api_keys (id, role, name, secret_hash, created_at, mac)
			VALUES ('%[1]s', 'platform_admin', '', %[2]s, now(), %[3]s)`, id, hash, mac)
	}
	event := fmt.Sprintf(`; UPDATE tenants SET audit_seq = audit_seq + 1 WHERE slug = 'platform';
		INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash, feed_xid)
		SELECT id, audit_seq, now(), 'api_key.created', 'operator', '0', 'root', '{"id":"%s","name":"","role":"platform_admin"}', audit_hash, sha256('x'), pg_current_xact_id()
		FROM tenants WHERE slug = 'platform'`, id)
	for _, c := range []struct{ name, key, sql string }{
		{"inserted", key, insert("NULL")},
		{"inserted with an event", key, insert("NULL") + event},
		{"inserted with the code of another", key, insert("(SELECT mac FROM api_keys WHERE id = '" + idOf(w.root) + "')")},
		{"inserted with a code of zeros", key, insert(`'\x01' || decode(repeat('00', 32), 'hex')`)},
		{"with another role", signer, "UPDATE api_keys SET role = 'tenant_admin' WHERE id = '" + idOf(signer) + "'"},
		{"of another tenant", theirs, "UPDATE api_keys SET tenant_id = '" + acme.ID.String() + "' WHERE id = '" + idOf(theirs) + "'"},
	} {
		w.past(c.sql)
		for range 2 {
			w.do("GET", "/v1/tenants/acme", c.key, "").problem(ProblemCodeUnauthenticated)
		}
		if c.key == key {
			w.do("POST", "/v1/api-keys", c.key, `{"name":"x","role":"platform_admin"}`).problem(ProblemCodeUnauthenticated)
		}
	}
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200)
	if n := strings.Count(w.log.String(), `"id":"`+id.String()+`"`); n != 1 {
		t.Errorf("the inserted credential was logged %d times, want once", n)
	}
}

// What limits a credential cannot be taken off it in the database.
func TestChangedCredentialIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	var made CreatedAPIKey
	w.do("POST", "/v1/tenants/acme/api-keys", w.root, `{"name":"ci","role":"tenant_auditor","expires_at":"2999-01-01T00:00:00Z"}`).ok(201, &made)
	w.do("GET", "/v1/tenants/acme", made.Key, "").ok(200)
	w.past("UPDATE api_keys SET expires_at = NULL WHERE id = '" + made.ID.String() + "'")
	w.do("GET", "/v1/tenants/acme", made.Key, "").problem(ProblemCodeUnauthenticated)

	revoked := w.key(tenant.TenantAdmin, &acme.ID)
	id := uuid.MustParse(revoked[3:35])
	w.do("DELETE", "/v1/tenants/acme/api-keys/"+id.String(), w.root, "").ok(204)
	w.past("UPDATE api_keys SET revoked_at = NULL WHERE id = '" + id.String() + "'")
	w.do("GET", "/v1/tenants/acme", revoked, "").problem(ProblemCodeUnauthenticated)
}

// A tenant whose names, limits or rules were changed in the database is refused: it
// does not sign, and its settings are used for nothing.
func TestChangedTenantIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	other := w.tenant("other")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["revoke_all"],"issuer":"https://acme.example"}`).ok(200)
	sign := func() *answer { return w.do("POST", "/v1/tenants/acme/tokens", admin, `{"claims":{"sub":"s"}}`) }
	sign().ok(200)
	const before = "CREATE TABLE kept AS SELECT * FROM tenants; CREATE TABLE kept_policies AS SELECT * FROM policies"
	const back = `UPDATE tenants t SET issuer = k.issuer, issuer_name = k.issuer_name, custom_domain = k.custom_domain, status = k.status, approval_required = k.approval_required,
			clock_skew_seconds = k.clock_skew_seconds, metadata = k.metadata, mac = k.mac, jwks = k.jwks, jwks_outline = k.jwks_outline, jwks_xid = k.jwks_xid
			FROM kept k WHERE t.id = k.id;
		UPDATE policies p SET max_token_ttl_seconds = k.max_token_ttl_seconds, grace_period_seconds = k.grace_period_seconds, mac = k.mac
			FROM kept_policies k WHERE p.tenant_id = k.tenant_id AND p.alg = k.alg`
	w.past(before)
	of := func(set string) string { return "UPDATE tenants SET " + set + " WHERE id = '" + acme.ID.String() + "'" }
	for _, c := range []struct{ name, sql string }{
		{"another issuer", of("issuer = 'https://keys.example.com/t/other'")},
		{"no issuer", of("issuer = NULL, issuer_name = NULL")},
		{"a domain", of("custom_domain = 'other.example'")},
		{"metadata", of(`metadata = '{"token_endpoint":"https://evil.example"}'`)},
		{"skew", of("clock_skew_seconds = 600")},
		{"no approvals", of("approval_required = '{}'")},
		{"no code", of("mac = NULL")},
		{"the code of another tenant", of("issuer = NULL, issuer_name = NULL, approval_required = '{}', mac = (SELECT mac FROM tenants WHERE id = '" + other.ID.String() + "')")},
		{"longer tokens as rendered", of("jwks_outline = replace(jwks_outline, ' 86400', ' 999999')")},
		{"longer tokens", "UPDATE policies SET max_token_ttl_seconds = 604000, grace_period_seconds = 900000; UPDATE tenants SET jwks = NULL"},
	} {
		w.past(c.sql)
		sign().problem(ProblemCodeInternal)
		w.do("GET", "/t/acme/.well-known/openid-configuration", "", "").problem(ProblemCodeInternal)
		if c.name != "longer tokens as rendered" { // that says what was rendered, and decides nothing else
			w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).problem(ProblemCodeInternal)
		}
		w.past(back)
		sign().ok(200)
		if t.Failed() {
			t.Fatalf("after %s", c.name)
		}
	}
	w.do("GET", "/t/other/.well-known/openid-configuration", "", "").ok(200)
}

// An approval that was given, or asked for, in the database only is none.
func TestForgedApprovalIsRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["revoke_all"]}`).ok(200)
	var a Approval
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"unspecified"}`).ok(202, &a)
	second := w.key(tenant.PlatformAdmin, nil)
	prolong := "UPDATE approvals SET created_at = created_at %[1]s interval '1 day', expires_at = expires_at %[1]s interval '1 day' WHERE id = '%[2]s'"
	w.past(fmt.Sprintf(prolong, "+", a.ID))
	w.do("POST", "/v1/tenants/acme/approvals/"+a.ID.String()+"/approve", second, "").problem(ProblemCodeInternal)
	w.past(fmt.Sprintf(prolong, "-", a.ID))
	w.past(fmt.Sprintf(`UPDATE approvals SET status = 'approved', decided_at = created_at, decider_type = 'api_key', decider_id = '%s', decider_name = ''
		WHERE id = '%s'`, uuid.MustParse(second[3:35]), a.ID))
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"unspecified"}`, "Keyward-Approval", a.ID.String()).problem(ProblemCodeInternal)
	w.past(fmt.Sprintf(`UPDATE approvals SET status = 'pending', decided_at = NULL, decider_type = NULL, decider_id = NULL, decider_name = NULL, request_hash = sha256('mine')
		WHERE id = '%s'`, a.ID))
	w.do("POST", "/v1/tenants/acme/approvals/"+a.ID.String()+"/approve", second, "").problem(ProblemCodeInternal)
}

// The worker puts a forged tenant off and does the others' work.
func TestForgedTenantStopsNoOther(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	w.past("UPDATE tenants SET issuer = 'https://evil.example' WHERE id = '" + acme.ID.String() + "'; UPDATE policies SET due_at = now() - interval '1 hour'")
	w.clock.pass(31 * 24 * time.Hour)
	for range 3 {
		if _, err := w.store.RunDue(t.Context(), operator, 100); err != nil {
			t.Fatal(err)
		}
	}
	rotated := func(id uuid.UUID) int {
		return scalar[int](w, "SELECT count(*) FROM keys WHERE tenant_id = $1 AND state = 'deprecated'", id)
	}
	if n := rotated(other.ID); n != 1 {
		t.Errorf("the other tenant has %d deprecated keys, want 1", n)
	}
	if n := rotated(acme.ID); n != 0 {
		t.Errorf("the forged tenant has %d deprecated keys, want none", n)
	}
}

// Rows stay believed under the next master key, and are believed by a process that
// starts with it.
func TestAuthorityFollowsTheMasterKey(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	c := custody.New(custody.Config{DB: w.db, URI: w.masterURI, Now: w.clock.now, Log: w.server.cfg.Log})
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RotateMaster(t.Context(), operator, "", custody.RewrapOptions{FullSpeed: true}); err != nil {
		t.Fatal(err)
	}
	next, _ := w.replica(t)
	next.do("POST", "/v1/tenants/acme/tokens", admin, `{"claims":{"sub":"s"}}`).ok(200)
	next.key(tenant.TenantSigner, &acme.ID)
	w.do("GET", "/v1/tenants/acme/api-keys", admin, "").ok(200)
}

// A domain is not verified because the database says so: its tenant names no host by it,
// and sees that it is not verified.
func TestForgedDomainIsRefused(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	names := w.serveNames()
	admin, theirs := w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &other.ID)
	verify := func(slug, key, domain string) {
		var d Domain
		w.do("POST", "/v1/tenants/"+slug+"/domains", key, `{"domain":"`+domain+`"}`).ok(201, &d)
		names.set(d.TxtName, d.TxtValue)
		w.do("POST", "/v1/tenants/"+slug+"/domains/"+domain+"/verify", key, "").ok(200)
	}
	verify("acme", admin, "own.example")
	verify("other", theirs, "theirs.example")
	w.do("POST", "/v1/tenants/acme/domains", admin, `{"domain":"bank.example"}`).ok(201)
	of := " WHERE domain = 'bank.example' AND tenant_id = '" + acme.ID.String() + "'"
	for _, c := range []struct{ domain, sql string }{
		{"bank.example", "UPDATE domains SET verified_at = now()" + of},
		{"bank.example", "UPDATE domains b SET verified_at = o.verified_at, token = o.token, mac = o.mac FROM domains o WHERE o.domain = 'own.example' AND b.domain = 'bank.example'"},
		{"theirs.example", "UPDATE domains SET tenant_id = '" + acme.ID.String() + "' WHERE domain = 'theirs.example'"},
		{"stolen.example", "UPDATE domains SET domain = 'stolen.example' WHERE domain = 'own.example'"},
	} {
		w.past(c.sql)
		for _, body := range []string{`{"custom_domain":"` + c.domain + `"}`, `{"issuer":"https://` + c.domain + `"}`} {
			w.do("PATCH", "/v1/tenants/acme", admin, body).problem(ProblemCodePolicyViolation)
		}
		var list DomainList
		w.do("GET", "/v1/tenants/acme/domains", admin, "").ok(200, &list)
		for _, d := range list.Items {
			if d.Domain == c.domain && d.VerifiedAt != nil {
				t.Errorf("after %s the domain shows as verified", c.sql)
			}
		}
		if n := strings.Count(w.log.String(), acme.ID.String()+"/"+c.domain); n != 1 {
			t.Errorf("%s was logged %d times, want once", c.domain, n)
		}
	}
	w.past("DELETE FROM domains WHERE domain = 'bank.example'")
	verify("acme", admin, "bank.example") // by its record it is
	w.do("PATCH", "/v1/tenants/acme", admin, `{"issuer":"https://bank.example"}`).ok(200)
}

// Which policies a tenant has, and which is the default, is not chosen in the database.
func TestChangedPolicyChoiceIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	policy := func(alg string, more string) {
		w.do("PUT", "/v1/tenants/acme/policies/"+alg, w.root, `{`+more+`}`).ok(201)
	}
	policy("EdDSA", "")
	policy("ES384", "")
	w.do("DELETE", "/v1/tenants/acme/policies/ES384", w.root, "").ok(204)
	sign := func() *answer { return w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{"sub":"s"}}`) }
	rotate := func() *answer { return w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`) }
	sign().ok(200)
	const unrendered = "; UPDATE tenants SET jwks = NULL, jwks_outline = NULL WHERE slug = 'acme'"
	of := " WHERE tenant_id = '" + acme.ID.String() + "' AND alg = "
	w.past("CREATE TABLE kept AS SELECT * FROM tenants; CREATE TABLE kept_policies AS SELECT * FROM policies")
	for _, sql := range []string{
		"UPDATE policies SET is_default = false" + of + "'ES256'; UPDATE policies SET is_default = true" + of + "'EdDSA'",
		"UPDATE policies SET retired_at = NULL" + of + "'ES384'",
		"UPDATE policies SET updated_at = updated_at + interval '1 second'" + of + "'ES256'",
	} {
		w.past(sql + unrendered)
		sign().problem(ProblemCodeInternal)
		rotate().problem(ProblemCodeInternal)
		w.do("GET", "/v1/tenants/acme/policies", w.root, "").problem(ProblemCodeInternal)
		w.past(`UPDATE policies SET is_default = false; UPDATE policies p SET is_default = k.is_default, retired_at = k.retired_at, updated_at = k.updated_at
			FROM kept_policies k WHERE p.tenant_id = k.tenant_id AND p.alg = k.alg;
			UPDATE tenants t SET jwks = k.jwks, jwks_outline = k.jwks_outline, jwks_xid = k.jwks_xid FROM kept k WHERE t.id = k.id`)
		sign().ok(200)
	}
	// What Keyward itself changes is believed.
	w.do("PUT", "/v1/tenants/acme/policies/EdDSA", w.root, `{"default":true}`).ok(200)
	w.do("DELETE", "/v1/tenants/acme/policies/ES256", w.root, "").ok(204)
	rotate().ok(200)
	policy("ES384", "")
	w.past("UPDATE tenants SET jwks = NULL, jwks_outline = NULL WHERE slug = 'acme'")
	sign().ok(200)
}

// Who made a credential is not changed in the database: one person would be two.
func TestForgedMakerIsRefused(t *testing.T) {
	w := newWorld(t)
	acme, root, _ := guardedTenant(w)
	_ = acme
	const keys, admin = "/v1/tenants/acme/api-keys", `{"role":"tenant_admin"}`
	first := w.made(keys, root, admin)
	between := w.made(keys, first.Key, admin)
	second := w.made(keys, between.Key, admin)
	w.do("DELETE", keys+"/"+between.ID.String(), root, "").ok(200) // its row has no other code any more
	a := w.request("POST", revokeAllPath, first.Key, compromised)
	w.inert(func() { w.decided(a, second.Key, "approve").problem(ProblemCodeForbidden) })
	w.past("UPDATE api_keys SET creator_type = 'operator', creator_id = '0', creator_name = 'root' WHERE id = '" + between.ID.String() + "'")
	w.inert(func() { w.decided(a, second.Key, "approve").problem(ProblemCodeInternal) })
}

package snapshot

import (
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// An outline that does not match its body is an error.
func TestOutlineDoesNotMatchBody(t *testing.T) {
	const kid = " key ES256 active 1 \"é\u2028/%2F= "
	private, err := keys.Generate(jose.ES256, 0)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := keys.PublicJWK(private.Public(), jose.ES256, kid)
	if err != nil {
		t.Fatal(err)
	}
	set, err := RenderSet(time.Now(), []keys.Key{
		{KID: "gone", Alg: jose.ES256, State: keys.Revoked}, {KID: kid, Alg: jose.ES256, State: keys.Active, PublicJWK: jwk},
	}, []tenant.Policy{tenant.DefaultPolicy(jose.EdDSA), {Alg: jose.ES256, Default: true, MaxTokenTTL: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	snap := &Snapshot{}
	if err := snap.applySet(set); err != nil {
		t.Fatalf("%s of %s: %v", set.Outline, set.Body, err)
	}
	if c := snap.readContents(); len(c.published) != 1 || string(c.published[0].jwk) != string(jwk) || len(c.policies) != 2 ||
		c.policies[0].ActiveKID != kid || c.policies[0].MaxTokenTTL != time.Hour || c.policies[1].DefaultTokenTTL != 15*time.Minute {
		t.Fatalf("%s of %s: %+v", set.Outline, set.Body, c)
	}
	for _, outline := range []string{
		"key ES256\n", "key ES256 active 10\n", "key ES256 active -1 x\n", "key ES256 active 100000 x\n", "key ES256 active 9223372036854775807 x\n",
		strings.Repeat("key ES256 active 200 x\n", 3), "key HS256 active 10 x\n", "key ES256 revoked 10 x\n",
		"policy ES256\n", "policy HS256 1 1\n", "policy ES256 1 x\n", "else\n", "\n",
	} {
		if err := new(Snapshot).applySet(Set{set.Body, "v1 0\n" + outline}); err == nil {
			t.Errorf("%q fits", outline)
		}
	}
}

// An outline begins with its version and the time of the change.
func TestOutlineVersion(t *testing.T) {
	for _, outline := range []string{"", "v1", "v1 x\n", "v2 0\n", "0\n"} {
		if err := new(Snapshot).applySet(Set{[]byte(`{"keys":[]}`), outline}); err == nil {
			t.Errorf("%q fits", outline)
		}
	}
}

// Callers that wait for a load that panics get an error, and the next load succeeds.
func TestLoadPanics(t *testing.T) {
	now := time.Now
	cache, dsn := newCache(t, func(cfg *Config) { cfg.Now = func() time.Time { return now() } })
	dbtest.Exec(t, dsn, `SET session_replication_role = replica;
		INSERT INTO tenants (id, slug, name, jwks_max_age_seconds, jwks_stale_while_revalidate_seconds, jwks_stale_if_error_seconds,
			clock_skew_seconds, audit_seq, audit_hash, created_at, updated_at, jwks, jwks_outline, jwks_xid, feed_xid)
		VALUES (gen_random_uuid(), 'acme', '', 300, 60, 86400, 60, 1, sha256('x'), now(), now(), '{"keys":[]}', E'v1 0\n', '1', '1')`)
	f := &pendingLoad{done: make(chan struct{}), err: errLoadPanicked}
	cache.pendingLoads["acme"] = f
	now = func() time.Time { panic("x") }
	func() {
		defer func() { _ = recover() }()
		cache.runLoad(t.Context(), "acme", f)
	}()
	if <-f.done; f.err != errLoadPanicked || f.entry != nil {
		t.Errorf("got %v, %v", f.entry, f.err)
	}
	now = time.Now
	if _, _, err := cache.Get(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
}

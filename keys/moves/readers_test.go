package moves

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// sign signs an empty token.
func (p *process) sign(t testing.TB, ref string) signing.Token {
	t.Helper()
	token, err := p.signer.SignToken(t.Context(), ref, signing.Order{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// code is why a token is not valid; empty if it is.
func (p *process) code(t testing.TB, ref, token string) tokens.Code {
	t.Helper()
	_, err := p.signer.Verify(t.Context(), ref, signing.VerifyRequest{Token: token})
	var invalid *tokens.VerifyError
	if err != nil && !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if err == nil {
		return ""
	}
	return invalid.Code
}

func TestEveryAlgorithmSignsAndVerifies(t *testing.T) {
	p := newProcess(t)
	for _, alg := range keys.Algorithms() {
		slug := strings.ToLower(string(alg))
		p.tenant(t, slug, asDefault(alg))
		token := p.sign(t, slug)
		if token.Alg != alg {
			t.Errorf("signed with %s instead of %s", token.Alg, alg)
		}
		if code := p.code(t, slug, token.Token); code != "" {
			t.Errorf("%s: %s", alg, code)
		}
		if code := p.code(t, tenant.PlatformSlug, token.Token); code != tokens.CodeUnknownKey {
			t.Errorf("%s: another tenant says %q", alg, code)
		}
	}
}

func TestJWKSHoldsWhatIsPublishedInOrder(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	for range 2 {
		if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	want := append(p.in(t, made.ID, keys.Active), p.in(t, made.ID, keys.Standby)...)
	stopped, err := p.store.List(t.Context(), made.ID, Filter{State: keys.Deprecated, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(stopped.Items, func(a, b Entry) int { return b.DeprecatedAt.Compare(*a.DeprecatedAt) })
	for _, k := range stopped.Items {
		want = append(want, k.KID)
	}
	p.await(t, "acme")
	for _, ref := range []string{"acme", made.ID.String()} {
		snap, _, err := p.snapshots.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(snap.JWKS, &set); err != nil || len(set.Keys) != len(want) {
			t.Fatalf("%s: %d keys, %v", ref, len(set.Keys), err)
		}
		for i, k := range set.Keys {
			if k.KeyID != want[i] || k.Use != "sig" || k.Algorithm != "ES256" || !k.IsPublic() {
				t.Errorf("%s: key %d is %s, want %s", ref, i, k.KeyID, want[i])
			}
		}
	}
}

func TestRevocationReachesTheOtherProcess(t *testing.T) {
	a := newProcess(t)
	b := a.another(t)
	made := a.tenant(t, "acme")
	b.await(t, "acme")
	token := b.sign(t, "acme")
	if _, err := a.store.Revoke(t.Context(), tester, made.ID, token.KID, RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	b.await(t, "acme")
	snap, _, err := b.snapshots.Get(t.Context(), "acme")
	if err != nil || strings.Contains(string(snap.JWKS), token.KID) {
		t.Errorf("the revoked key is still served: %v", err)
	}
	if code := b.code(t, "acme", token.Token); code != tokens.CodeKeyRevoked {
		t.Errorf("the token is %q", code)
	}
	if next := b.sign(t, "acme"); next.KID == token.KID {
		t.Error("the revoked key still signs")
	}
}

func TestVerifySaysWhatBecameOfTheKey(t *testing.T) {
	p := newProcess(t)
	policy := asDefault(jose.ES256)
	policy.GracePeriod, policy.MaxTokenTTL, policy.DefaultTokenTTL = 2*time.Minute, time.Minute, time.Minute
	made := p.tenant(t, "acme", policy)
	token := p.sign(t, "acme").Token
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, "acme")
	if code := p.code(t, "acme", token); code != "" {
		t.Errorf("after rotation: %s", code)
	}
	p.clock.Advance(3 * time.Minute)
	p.tick(t)
	p.await(t, "acme")
	if code := p.code(t, "acme", token); code != tokens.CodeKeyExpired {
		t.Errorf("after expiry: %q", code)
	}
	if _, err := p.store.Purge(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	p.await(t, "acme")
	if code := p.code(t, "acme", token); code != tokens.CodeKeyExpired {
		t.Errorf("after purge: %q", code)
	}
}

func TestSuspendedTenantsDoNotSign(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	token := p.sign(t, "acme").Token
	_, err := p.tenants.Update(t.Context(), tester, made.ID, tenant.Change{Status: tenant.Some(tenant.Suspended)})
	if err != nil {
		t.Fatal(err)
	}
	p.await(t, "acme")
	if _, err := p.signer.SignToken(t.Context(), "acme", signing.Order{}); !errors.Is(err, tenant.ErrSuspended) {
		t.Errorf("signing: %v", err)
	}
	if code := p.code(t, "acme", token); code != "" {
		t.Errorf("a token issued before is %s", code)
	}
}

// Without PostgreSQL a known JWKS is served, stale, and up to a limit; signing
// stops as soon as nobody can say whether the key was revoked; all heals.
func TestWithoutPostgreSQL(t *testing.T) {
	server := dbtest.NewServer(t)
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	p := newProcessOn(t, server.DSN(), uri)
	p.tenant(t, "acme")
	p.sign(t, "acme")
	server.Stop()
	p.sign(t, "acme") // still known to be fresh: no statement is needed

	p.deaf.Store(true)
	p.clock.Advance(keys.FreshFor + time.Second)
	if _, err := p.signer.SignToken(t.Context(), "acme", signing.Order{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("signing: %v", err)
	}
	snap, stale, err := p.snapshots.Get(t.Context(), "acme")
	if err != nil || stale < keys.FreshFor || len(snap.JWKS) == 0 {
		t.Errorf("JWKS stale for %v: %v", stale, err)
	}
	if _, _, err := p.snapshots.Get(t.Context(), "never-seen"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a tenant never seen: %v", err)
	}
	p.clock.Advance(25 * time.Hour)
	if _, _, err := p.snapshots.Get(t.Context(), "acme"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("beyond the limit: %v", err)
	}

	server.Start()
	<-p.connected
	p.deaf.Store(false)
	p.sign(t, "acme")
	if _, stale, err := p.snapshots.Get(t.Context(), "acme"); err != nil || stale != 0 {
		t.Errorf("after the restart: stale for %v, %v", stale, err)
	}
}

// A wall clock that is set back makes no snapshot younger: cut off from PostgreSQL
// nothing signs with it, and what verifiers are served is marked stale.
func TestAWallClockSetBackIsNotFreshness(t *testing.T) {
	server := dbtest.NewServer(t)
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	p := newProcessOn(t, server.DSN(), uri)
	p.tenant(t, "acme")
	p.sign(t, "acme")
	server.Stop()
	p.deaf.Store(true)
	p.clock.Advance(-time.Minute)
	if _, err := p.signer.SignToken(t.Context(), "acme", signing.Order{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("signing: %v", err)
	}
	if snap, stale, err := p.snapshots.Get(t.Context(), "acme"); err != nil || stale <= 0 || len(snap.JWKS) == 0 {
		t.Errorf("JWKS stale for %v: %v", stale, err)
	}
	server.Start()
	<-p.connected
	p.deaf.Store(false)
	p.sign(t, "acme")
}

func TestUnknownTenantsAreRememberedBriefly(t *testing.T) {
	p := newProcess(t)
	for range 3 {
		if _, _, err := p.snapshots.Get(t.Context(), "acme"); !errors.Is(err, tenant.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if _, misses, _ := p.snapshots.Stats(); misses != 1 {
		t.Errorf("read %d times, want once", misses)
	}
	p.tenant(t, "acme")
	if _, _, err := p.snapshots.Get(t.Context(), "acme"); err != nil {
		t.Errorf("once created: %v", err)
	}
}

func TestManyReadersCauseOneRead(t *testing.T) {
	p := newProcess(t)
	p.tenant(t, "acme")
	for range 100 {
		p.snapshots.Missed()
		_, before, _ := p.snapshots.Stats()
		for _, err := range together(200, func(int) error {
			_, _, err := p.snapshots.Get(context.Background(), "acme")
			return err
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, after, _ := p.snapshots.Stats(); after-before != 1 {
			t.Fatalf("200 readers caused %d reads", after-before)
		}
	}
}

func TestEvidence(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	ttl := int64(3600)
	long, err := p.signer.SignToken(t.Context(), "acme", signing.Order{Request: tokens.Request{TTLSeconds: &ttl}})
	if err != nil {
		t.Fatal(err)
	}
	p.sign(t, "acme")
	if err := p.signer.FlushEvidence(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err := p.store.Get(t.Context(), made.ID, long.KID)
	if err != nil || k.LastSignedAt == nil || k.LastTokenExpiresAt == nil || !k.LastTokenExpiresAt.Equal(long.ExpiresAt) {
		t.Errorf("last token expires at %v, want %v (%v)", k.LastTokenExpiresAt, long.ExpiresAt, err)
	}
}

package moves

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

type readHistory struct {
	Iss  string
	Iat  int64
	Keys []struct {
		KID     string `json:"kid"`
		Kty     string
		Iat     int64
		Nbf     *int64
		Exp     int64
		Revoked *struct {
			RevokedAt int64 `json:"revoked_at"`
			Reason    string
		}
	}
}

// history reads the tenant's history and demands that its JWKS verifies it.
func (p *process) history(t *testing.T, ref string) (h readHistory, kid string) {
	t.Helper()
	snap, history, stale, err := p.signedHistory(t, ref)
	if err != nil || stale != 0 {
		t.Fatalf("%v, stale %s", err, stale)
	}
	payload, err := tokens.VerifyAttestation(string(history.JWT), tokens.HistoryType, snap.JWKS)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &h); err != nil {
		t.Fatal(err)
	}
	var header struct{ KID string }
	if err := json.Unmarshal(jwsPart(t, string(history.JWT), 0), &header); err != nil {
		t.Fatal(err)
	}
	return h, header.KID
}

func (p *process) signedHistory(t *testing.T, ref string) (*snapshot.Snapshot, *signing.History, time.Duration, error) {
	t.Helper()
	snap, stale, err := p.snapshots.Get(t.Context(), ref)
	if err != nil {
		return nil, nil, 0, err
	}
	h, stale, err := p.signer.History(t.Context(), snap, stale)
	return snap, h, stale, err
}

func TestHistoryTellsWhatBecameOfEveryKeyThatSigned(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	began := p.list(t, made, Filter{State: keys.Active})[0].CreatedAt.Unix()
	first, kid := p.history(t, "acme")
	if first.Iss != "https://keys.example/t/acme" || len(first.Keys) != 1 || first.Keys[0].KID != kid || first.Keys[0].Kty == "" {
		t.Fatalf("%+v by %s", first, kid)
	}
	policy := tenant.DefaultPolicy("ES256")
	if k := first.Keys[0]; k.Iat != began || k.Nbf == nil || *k.Nbf != began ||
		k.Exp != began+int64((policy.RotationInterval+policy.GracePeriod)/time.Second) || k.Revoked != nil {
		t.Errorf("an active key: %+v", k)
	}
	p.clock.Advance(time.Hour)
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	planned := p.list(t, made, Filter{State: keys.Deprecated})[0].ExpiresAt.Unix()
	p.snapshots.Changed(made.ID, "acme")
	second, kid := p.history(t, made.ID.String())
	if len(second.Keys) != 2 || second.Keys[0].KID != kid || second.Keys[1].Exp != planned {
		t.Errorf("after a rotation: %+v by %s", second, kid)
	}
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, first.Keys[0].KID, RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	p.snapshots.Changed(made.ID, "acme")
	revoked := p.list(t, made, Filter{State: keys.Revoked})[0].RevokedAt.Unix()
	third, _ := p.history(t, "acme")
	for _, k := range third.Keys {
		if k.KID == first.Keys[0].KID && (k.Revoked == nil || k.Revoked.Reason != "compromised" || k.Revoked.RevokedAt != revoked || k.Exp != revoked) {
			t.Errorf("a revoked key: %+v", k)
		}
	}
	if _, err := p.store.Purge(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	p.snapshots.Changed(made.ID, "acme")
	if last, _ := p.history(t, "acme"); len(last.Keys) != len(third.Keys)-1 {
		t.Errorf("after a purge: %+v", last)
	}
}

// Asking signs once in a while, and leaves no trace in what the key is said to
// have signed.
func TestHistoryIsSignedNowAndThen(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	jwt := func() string {
		_, h, _, err := p.signedHistory(t, "acme")
		if err != nil {
			t.Fatal(err)
		}
		return string(h.JWT)
	}
	first := jwt()
	p.clock.Advance(signing.HistoryFor / 2)
	if jwt() != first {
		t.Error("signed again within its time")
	}
	p.clock.Advance(signing.HistoryFor / 2)
	if jwt() == first {
		t.Error("not signed again after its time")
	}
	if n := p.signer.Signatures(); n != 0 {
		t.Errorf("%d signatures are counted", n)
	}
	if err := p.store.DeleteTenant(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	p.snapshots.Changed(made.ID, "acme")
	if _, _, _, err := p.signedHistory(t, "acme"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("a deleted tenant's: %v", err)
	}
}

// Only Keyward signs under its own types, and only its own keys attest.
func TestReservedTypesAreForAttesting(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	for _, ref := range []string{tenant.PlatformSlug, "acme"} {
		for _, typ := range []string{signing.CheckpointType, signing.DestructionType, tokens.HistoryType, "keyward-x", "KEYWARD-Webhook+jwt", "application/keyward-checkpoint+jwt", "Application/JWK-Set+jwt"} {
			var refused *tokens.ClaimError
			if _, err := p.signer.SignToken(t.Context(), ref, signing.Order{Typ: typ}); !errors.As(err, &refused) || refused.Field != "typ" {
				t.Errorf("a token of typ %s by %s: %v", typ, ref, err)
			}
			if _, err := p.signer.SignPayload(t.Context(), ref, signing.PayloadOrder{Payload: []byte("x"), Typ: typ}); !errors.As(err, &refused) || refused.Field != "typ" {
				t.Errorf("a payload of typ %s by %s: %v", typ, ref, err)
			}
		}
	}
	if _, err := p.signer.Attest(t.Context(), signing.PayloadOrder{Typ: "JWT"}); err == nil {
		t.Error("attested under a type that anybody may have")
	}
	platform, _, err := p.snapshots.Get(t.Context(), tenant.PlatformSlug)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.ImportPrivate(t.Context(), tester, platform.TenantID, PrivateImport{Key: []byte(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["JWK"]), Alg: jose.ES256}); !errors.Is(err, ErrPlatformImport) {
		t.Errorf("a private key into the platform's tenant: %v", err)
	}
	p.wantCheckpoints(t, made, platform)
}

func (p *process) wantCheckpoints(t *testing.T, made tenant.Tenant, platform *snapshot.Snapshot) {
	t.Helper()
	head, err := p.audit.Head(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := p.signer.Checkpoint(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	c, err := signing.VerifyCheckpoint(signed.JWS, platform.JWKS)
	if err != nil || c.TenantID != made.ID || c.Tenant != "acme" || c.Seq != head.Seq || !c.At.Equal(head.At) || c.Issuer != platform.Issuer {
		t.Errorf("%+v, %v", c, err)
	}
	own, _, _ := p.snapshots.Get(t.Context(), "acme")
	payload := fmt.Appendf(nil, `{"exp":%d,%s`, c.At.Unix()+600, jwsPart(t, signed.JWS, 1)[1:]) // all but a token must have
	token, err := p.signer.SignPayload(t.Context(), tenant.PlatformSlug, signing.PayloadOrder{Payload: payload, Typ: "JWT"})
	if err != nil {
		t.Fatal(err)
	}
	_, history, _, _ := p.signedHistory(t, tenant.PlatformSlug)
	for name, bad := range map[string]struct {
		jws string
		set []byte
	}{
		"another tenant's keys": {signed.JWS, own.JWKS}, "no keys": {signed.JWS, []byte(`{"keys":[]}`)}, "no set": {signed.JWS, []byte(`{}`)},
		"the same of another type": {token.JWS, platform.JWKS}, "a history": {string(history.JWT), platform.JWKS},
		"cut off": {signed.JWS[:len(signed.JWS)-4], platform.JWKS}, "nothing": {"", platform.JWKS},
	} {
		if c, err := signing.VerifyCheckpoint(bad.jws, bad.set); !errors.Is(err, signing.ErrCheckpoint) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// jwsPart is a decoded part of a compact JWS.
func jwsPart(t *testing.T, jws string, n int) []byte {
	t.Helper()
	part, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// Which keys were valid at a time: from the moment of publication to the one
// before the key left, also when it is purged.
func TestValidAtIsExact(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	old := p.list(t, made, Filter{State: keys.Active})[0]
	p.clock.Advance(time.Hour)
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, old.KID, RevokeRequest{Reason: keys.Superseded}); err != nil {
		t.Fatal(err)
	}
	gone, err := p.store.Find(t.Context(), made.ID, old.KID)
	if err != nil {
		t.Fatal(err)
	}
	left := *gone.RevokedAt
	check := func(when string) {
		t.Helper()
		for name, c := range map[string]struct {
			at   time.Time
			want bool
		}{
			"before": {old.PublishedAt.Add(-time.Microsecond), false}, "at publication": {old.PublishedAt, true},
			"to the last": {left.Add(-time.Microsecond), true}, "when it left": {left, false}, "the epoch": {time.Unix(0, 0), false},
		} {
			found := false
			for _, k := range p.list(t, made, Filter{ValidAt: c.at}) {
				found = found || k.KID == old.KID
			}
			if found != c.want {
				t.Errorf("%s, %s: %v", when, name, found)
			}
		}
	}
	check("revoked")
	if _, err := p.store.Purge(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	check("purged")
	if n := len(p.list(t, made, Filter{ValidAt: time.Unix(0, 0)})); n != 0 {
		t.Errorf("%d keys in 1970", n)
	}
}

func (p *process) list(t *testing.T, made tenant.Tenant, f Filter) []Entry {
	t.Helper()
	f.Limit = 100
	page, err := p.store.List(t.Context(), made.ID, f)
	if err != nil {
		t.Fatal(err)
	}
	return page.Items
}

package moves

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// policiesOf is one policy for each of the algorithms, the first the default.
func policiesOf(algs ...jose.SignatureAlgorithm) (policies []tenant.Policy) {
	for i, alg := range algs {
		p := tenant.DefaultPolicy(alg)
		p.Default = i == 0
		policies = append(policies, p)
	}
	return policies
}

// tell is what a tenant's history says of a key.
func (p *process) tell(t testing.TB, id uuid.UUID, kid string) string {
	t.Helper()
	page, err := p.audit.List(t.Context(), id, audit.Filter{KID: kid, Ascending: true, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range page.Events {
		told = append(told, string(e.Action))
	}
	return strings.Join(told, " ")
}

func (p *process) state(t testing.TB, id uuid.UUID, kid string) keys.State {
	t.Helper()
	k, err := p.store.Get(t.Context(), id, kid)
	if err != nil {
		t.Fatal(err)
	}
	return k.State
}

// seq is how long a tenant's history is.
func (p *process) seq(t testing.TB, id uuid.UUID) int64 {
	t.Helper()
	p.intact(t, id)
	got, err := p.tenants.GetAny(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return got.Version
}

// Every form of a key of every algorithm signs here after it was imported, and
// what it signs is verified.
func TestImportedKeysSign(t *testing.T) {
	p := newProcess(t)
	for _, alg := range keys.Algorithms() {
		slug := strings.ToLower("t-" + string(alg))
		acme := p.tenant(t, slug, policiesOf(alg)...)
		for form := range written(keystest.Signer(keystest.PrivateKey(t, alg))) {
			fresh, err := keys.Generate(alg, 0)
			if err != nil {
				t.Fatal(err)
			}
			if keys.KeyType(alg) == "RSA" && form != "JWK" { // slow to make; one text is enough where the kid differs
				fresh = keystest.PrivateKey(t, alg)
			}
			kid := "moved." + keystest.Base64([]byte(form))
			before := p.in(t, acme.ID, keys.Standby)
			e, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, PrivateImport{
				Key: []byte(written(keystest.Signer(fresh))[form]), Alg: alg, KID: kid, Active: true,
			})
			if err != nil || e.State != keys.Active || e.KID != kid || e.Origin != keys.Imported || e.Activation != byImport {
				t.Fatalf("%s as %s: %+v %v", alg, form, e, err)
			}
			if !slices.Equal(before, p.in(t, acme.ID, keys.Standby)) {
				t.Errorf("%s as %s: the standby changed", alg, form)
			}
			p.signsWith(t, slug, kid, fresh.Public())
		}
		p.intact(t, acme.ID)
	}
}

// signsWith demands that tokens are signed with a key, by Keyward's own
// verification and by go-jose's.
func (p *process) signsWith(t testing.TB, slug, kid string, pub crypto.PublicKey) {
	t.Helper()
	p.snapshots.Missed()
	p.signer.Missed()
	token, err := p.signer.SignToken(t.Context(), slug, signing.Order{})
	if err != nil || token.KID != kid {
		t.Fatalf("%+v, %v, want kid %s", token, err, kid)
	}
	if _, err := p.signer.Verify(t.Context(), slug, signing.VerifyRequest{Token: token.Token}); err != nil {
		t.Errorf("%s: %v", kid, err)
	}
	jws, err := jose.ParseSignedCompact(token.Token, []jose.SignatureAlgorithm{token.Alg})
	if token.Alg == keys.Ed25519 { // go-jose does not know that name
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(pub); err != nil {
		t.Errorf("%s: go-jose: %v", kid, err)
	}
}

func TestImportedStandbyReplacesTheStandby(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	active, standby := p.only(t, acme.ID, keys.Active), p.only(t, acme.ID, keys.Standby)
	e, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, PrivateImport{
		Key: []byte(edit(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["JWK"], map[string]any{"kid": "its-own_1.0~"})), Alg: jose.ES256,
	})
	if err != nil || e.State != keys.Standby || e.KID != "its-own_1.0~" || e.NextTransitionAt == nil || e.SafeToRetireAt != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	old, err := p.store.Get(t.Context(), acme.ID, standby)
	if err != nil || old.State != keys.Revoked || old.RevocationReason != keys.Superseded {
		t.Errorf("the old standby: %+v, %v", old, err)
	}
	if got := p.tell(t, acme.ID, e.KID); got != "key.imported" || p.only(t, acme.ID, keys.Active) != active {
		t.Errorf("%s", got)
	}
	p.clock.Advance(31*24*time.Hour + 48*time.Hour)
	p.tick(t) // the schedule promotes it like any other
	if got := p.tell(t, acme.ID, e.KID); got != "key.imported key.activated" || p.only(t, acme.ID, keys.Active) != e.KID {
		t.Errorf("%s", got)
	}
	p.signsWith(t, "acme", e.KID, keystest.PrivateKey(t, jose.ES256).Public())
}

func TestImportedActiveDeprecatesTheActive(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	active, standby := p.only(t, acme.ID, keys.Active), p.only(t, acme.ID, keys.Standby)
	key := PrivateImport{Key: []byte(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["SEC 1"]), Alg: jose.ES256, Active: true}
	e, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key)
	if err != nil || p.state(t, acme.ID, active) != keys.Deprecated || p.state(t, acme.ID, standby) != keys.Standby {
		t.Fatalf("%+v, %v", e, err)
	}
	if got := p.tell(t, acme.ID, e.KID); got != "key.imported key.activated" {
		t.Error(got)
	}
	var used *UsedKIDError
	if _, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key); !errors.As(err, &used) || used.KID != e.KID {
		t.Errorf("again: %v", err)
	}
	if n := p.tick(t); n.Created != 0 {
		t.Errorf("%+v", n)
	}
}

// Of imports of one key at the same moment, one does it.
func TestImportsAtOnce(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	key := PrivateImport{Key: []byte(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["JWK"]), Alg: jose.ES256}
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key)
			errs <- err
		}()
	}
	done := 0
	for range cap(errs) {
		var used *UsedKIDError
		if err := <-errs; err == nil {
			done++
		} else if !errors.As(err, &used) {
			t.Error(err)
		}
	}
	if done != 1 || p.tell(t, acme.ID, p.only(t, acme.ID, keys.Standby)) != "key.imported" {
		t.Errorf("%d imports", done)
	}
	p.intact(t, acme.ID)
}

// An active key finds room by the rules of a rotation, or none.
func TestImportWaitsForRoom(t *testing.T) {
	p := newProcess(t)
	narrow := policiesOf(jose.ES256)
	narrow[0].MaxPublishedKeys = 3
	acme := p.tenant(t, "acme", narrow...)
	for _, want := range []error{nil, ErrRotationWaits} {
		key := must(keys.Generate(jose.ES256, 0))
		_, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, PrivateImport{
			Key: []byte(written(keystest.Signer(key))["JWK"]), Alg: jose.ES256, Active: true,
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// A kid that once was is taken, whatever became of its key; and a key that was
// compromised does not come back by another name.
func TestUsedAndCompromisedKeysStayOut(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	key := PrivateImport{Key: []byte(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["SEC 1"]), Alg: jose.ES256, KID: "old"}
	if _, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Revoke(t.Context(), tester, acme.ID, "old", RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	seq := p.seq(t, acme.ID)
	key.KID = "new"
	if _, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key); !errors.Is(err, tokens.ErrPolicy) {
		t.Errorf("a compromised key: %v", err)
	}
	public := PublicImport{Key: must(keys.PublicPEM(keystest.PrivateKey(t, jose.ES256).Public())), ExpiresAt: p.clock.Now().Add(time.Hour)}
	if _, _, err := p.store.ImportPublic(t.Context(), tester, acme.ID, public); !errors.Is(err, tokens.ErrPolicy) {
		t.Errorf("its public half: %v", err)
	}
	if p.seq(t, acme.ID) != seq {
		t.Error("something was written")
	}
	if _, err := p.store.Purge(t.Context(), tester, acme.ID); err != nil {
		t.Fatal(err)
	}
	key.KID = "old"
	var used *UsedKIDError
	if _, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, key); !errors.As(err, &used) {
		t.Errorf("the kid of a purged key: %v", err)
	}
}

// Of a set, a key that the tenant has is skipped; one that it had is refused, because tokens
// of it do not verify.
func TestSetsOfKeysThatWereThere(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	set := `{"keys":[`
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.ES384} {
		set += string(must(keys.PublicJWK(keystest.PrivateKey(t, alg).Public(), alg, "of-"+string(alg)))) + ","
	}
	try := func(kid string) (said string) {
		fine := string(must(keys.PublicJWK(keystest.PrivateKey(t, jose.RS256).Public(), jose.RS256, kid)))
		_, got, err := p.store.ImportPublic(t.Context(), tester, acme.ID, PublicImport{Key: []byte(set + fine + "]}"), ExpiresAt: p.clock.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Skipped {
			said += fmt.Sprintf("%s %t: %s\n", k.KID, k.Refused, k.Reason)
		}
		return said
	}
	want := func(said, want string) {
		t.Helper()
		if said != want {
			t.Errorf("%s\nwant\n%s", said, want)
		}
	}
	want(try("first"), "")
	seq := p.seq(t, acme.ID)
	for _, dry := range []bool{true, false} {
		again := PublicImport{Key: []byte(strings.TrimSuffix(set, ",") + "]}"), ExpiresAt: p.clock.Now().Add(time.Hour), DryRun: dry}
		entries, got, err := p.store.ImportPublic(t.Context(), tester, acme.ID, again)
		if err != nil || len(entries) != 0 || len(got.Skipped) != 3 || got.Skipped[0].Refused {
			t.Errorf("a set again, dry run %t: %v, %+v, %v", dry, entries, got.Skipped, err)
		}
		again.ExpiresAt = p.clock.Now()
		if _, _, err := p.store.ImportPublic(t.Context(), tester, acme.ID, again); err == nil {
			t.Error("a set again, until now, is no error")
		}
	}
	if p.seq(t, acme.ID) != seq {
		t.Error("a set again wrote something")
	}
	if _, err := p.store.Revoke(t.Context(), tester, acme.ID, "of-EdDSA", RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	const revoked = "of-EdDSA true: is revoked in this tenant, and a kid is used once\n"
	want(try("second"), "of-ES256 false: is there already as deprecated\n"+revoked+"of-ES384 false: is there already as deprecated\n")
	p.clock.Advance(2 * time.Hour)
	p.tick(t)
	want(try("third"), "of-ES256 true: is expired in this tenant, and a kid is used once\n"+revoked+"of-ES384 true: is expired in this tenant, and a kid is used once\n")
	if _, err := p.store.Purge(t.Context(), tester, acme.ID); err != nil {
		t.Fatal(err)
	}
	const purged = "has the kid of a key that the tenant purged, and a kid is used once\n"
	want(try("fourth"), "of-ES256 true: "+purged+"of-EdDSA true: "+purged+"of-ES384 true: "+purged)
}

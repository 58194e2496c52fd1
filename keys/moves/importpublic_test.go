package moves

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Tokens of a system left behind verify until the end date, and its keys leave
// by the worker, also where the tenant never had a policy for them.
func TestTokensOfASystemLeftBehind(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	ends := p.clock.Now().Add(40 * 24 * time.Hour)
	signed, members := map[string]string{}, []string{}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA} {
		kid := "left-" + string(alg)
		members = append(members, string(must(keys.PublicJWK(keystest.PrivateKey(t, alg).Public(), alg, kid))))
		signed[kid] = elsewhere(t, keystest.PrivateKey(t, alg), kid, acme.Issuer("https://keys.example"), ends.Add(time.Hour))
	}
	entries, set, err := p.store.ImportPublic(t.Context(), tester, acme.ID, PublicImport{
		Key: []byte(`{"keys":[` + strings.Join(members, ",") + `]}`), ExpiresAt: ends,
	})
	if err != nil || !set.IsSet || len(entries) != 3 {
		t.Fatalf("%v", err)
	}
	p.snapshots.Missed()
	policies, err := p.tenants.Policies(t.Context(), acme.ID)
	if err != nil || len(policies) != 1 {
		t.Errorf("nothing new signs, but there are %d policies, %v", len(policies), err)
	}
	for _, e := range entries {
		if e.State != keys.Deprecated || e.ActivatedAt != nil || !e.ExpiresAt.Equal(ends.Truncate(time.Microsecond)) || e.NextTransitionAt == nil || !e.NextTransitionAt.Equal(*e.ExpiresAt) {
			t.Errorf("%+v", e)
		}
		if _, err := p.signer.Verify(t.Context(), "acme", signing.VerifyRequest{Token: signed[e.KID]}); err != nil {
			t.Errorf("%s: %v", e.KID, err)
		}
		if _, err := p.signer.SignToken(t.Context(), "acme", signing.Order{Alg: jose.RS256}); !errors.Is(err, keys.ErrPolicyNotFound) {
			t.Errorf("a carrier signs: %v", err)
		}
	}
	p.leave(t, acme.ID, signed)
}

// leave passes the end date.
func (p *process) leave(t *testing.T, id uuid.UUID, signed map[string]string) {
	t.Helper()
	p.clock.Advance(39 * 24 * time.Hour)
	p.tick(t)
	for kid := range signed {
		if p.state(t, id, kid) != keys.Deprecated {
			t.Errorf("%s left too early", kid)
		}
	}
	p.clock.Advance(25 * time.Hour)
	p.tick(t)
	p.snapshots.Missed()
	p.signer.Missed()
	for kid, token := range signed {
		_, err := p.signer.Verify(t.Context(), "acme", signing.VerifyRequest{Token: token})
		var fault *tokens.VerifyError
		if !errors.As(err, &fault) || fault.Code != tokens.CodeKeyExpired || p.tell(t, id, kid) != "key.imported key.expired" {
			t.Errorf("%s: %v, %s", kid, err, p.tell(t, id, kid))
		}
	}
	p.clock.Advance(91 * 24 * time.Hour)
	p.tick(t)
	for kid := range signed {
		if p.state(t, id, kid) != keys.Purged {
			t.Errorf("%s was not purged", kid)
		}
	}
	p.intact(t, id)
}

// elsewhere signs a token as the system left behind did.
func elsewhere(t testing.TB, key keys.Private, kid, issuer string, expires time.Time) string {
	t.Helper()
	head := string(must(json.Marshal(map[string]any{"alg": key.Alg(), "kid": kid, "typ": "JWT"})))
	claims := string(must(json.Marshal(map[string]any{"iss": issuer, "exp": expires.Unix(), "iat": time.Now().Unix()})))
	input := keystest.Base64([]byte(head)) + "." + keystest.Base64([]byte(claims))
	return input + "." + keystest.Base64(must(key.Sign([]byte(input))))
}

func TestRefusedImportsChangeNothing(t *testing.T) {
	p := newProcess(t)
	strict := tenant.DefaultPolicy(jose.RS256)
	strict.RSABits = 3072
	narrow := tenant.DefaultPolicy(jose.ES384)
	narrow.MaxPublishedKeys = 3
	acme := p.tenant(t, "acme", append(policiesOf(jose.ES256, jose.EdDSA), strict, narrow)...)
	kid, seq := p.in(t, acme.ID, keys.Active)[0], p.seq(t, acme.ID)
	soon := p.clock.Now().Add(time.Hour)
	ec, rs := keystest.PrivateKey(t, jose.ES256), keystest.PrivateKey(t, jose.RS256)
	for _, c := range refusedPrivateKeys(t) {
		_, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, PrivateImport{Key: []byte(c.text), Alg: c.alg})
		refusedAs(t, c, err)
	}
	for name, r := range map[string]PrivateImport{
		"no policy":            {Key: []byte(written(keystest.Signer(rs))["JWK"]), Alg: jose.PS256},
		"weaker than rsa_bits": {Key: []byte(written(keystest.Signer(rs))["JWK"]), Alg: jose.RS256},
		"bad kid":              {Key: []byte(written(keystest.Signer(ec))["JWK"]), Alg: jose.ES256, KID: "a\nb"},
		"DEL":                  {Key: []byte(written(keystest.Signer(ec))["JWK"]), Alg: jose.ES256, KID: "a\x7f"},
		"kid of a generated":   {Key: []byte(written(keystest.Signer(ec))["JWK"]), Alg: jose.ES256, KID: kid},
	} {
		if _, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, r); err == nil {
			t.Errorf("%s was imported", name)
		}
	}
	one := must(keys.PublicJWK(ec.Public(), jose.ES256, "one"))
	for name, r := range map[string]PublicImport{
		"no end":             {Key: one},
		"end in the past":    {Key: one, ExpiresAt: p.clock.Now().Add(-time.Second)},
		"end too far":        {Key: one, ExpiresAt: p.clock.Now().Add(maxPublicLifetime + time.Hour)},
		"no room":            {Key: must(keys.PublicJWK(keystest.PrivateKey(t, jose.ES384).Public(), jose.ES384, "x")), ExpiresAt: soon},
		"a set":              {Key: []byte(`{"keys":[{"kty":"EC"},7]}`), ExpiresAt: soon},
		"kid in the set":     {Key: []byte(`{"keys":[` + string(must(keys.PublicJWK(ec.Public(), jose.ES256, kid))) + `]}`), ExpiresAt: soon},
		"private in a set":   {Key: []byte(`{"keys":[` + string(one) + `,` + written(keystest.Signer(rs))["JWK"] + `]}`), ExpiresAt: soon},
		"private, as public": {Key: []byte(written(keystest.Signer(ec))["PKCS#8"]), ExpiresAt: soon},
	} {
		if _, _, err := p.store.ImportPublic(t.Context(), tester, acme.ID, r); err == nil {
			t.Errorf("%s was imported", name)
		}
	}
	if got := p.seq(t, acme.ID); got != seq {
		t.Errorf("%d events were written", got-seq)
	}
	if _, err := p.store.ImportPrivate(t.Context(), tester, uuid.New(), PrivateImport{Key: []byte(written(keystest.Signer(ec))["JWK"]), Alg: jose.ES256}); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("no tenant: %v", err)
	}
}

// A public key leaves the JWKS when it expires at its issuer, if that is earlier than asked,
// and one that has expired there, or was revoked, does not come in.
func TestKeysThatEndAtTheirIssuer(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	soon := p.clock.Now().Add(time.Hour).Truncate(time.Second)
	jwk := func(kid string, member any) string {
		text := string(must(keys.PublicJWK(keystest.PrivateKey(t, jose.ES256).Public(), jose.ES256, kid)))
		return edit(text, map[string]any{"exp": member})
	}
	ask := func(material string) ([]Entry, keyfile.Set, error) {
		return p.store.ImportPublic(t.Context(), tester, acme.ID, PublicImport{Key: []byte(material), ExpiresAt: soon.Add(time.Hour)})
	}
	set := `{"keys":[` + jwk("soon", soon.Unix()) + `,` + jwk("late", soon.Add(9*time.Hour).Unix()) + `,` + jwk("past", p.clock.Now().Unix()) + `]}`
	entries, got, err := ask(set)
	if err != nil || len(entries) != 2 || !entries[0].ExpiresAt.Equal(soon) || !entries[1].ExpiresAt.Equal(soon.Add(time.Hour)) {
		t.Fatalf("%+v, %v", entries, err)
	}
	if len(got.Skipped) != 1 || got.Skipped[0].KID != "past" || got.Skipped[0].Refused || !strings.HasPrefix(got.Skipped[0].Reason, "has expired at its issuer") {
		t.Errorf("%+v", got.Skipped)
	}
	seq := p.seq(t, acme.ID)
	for material, why := range map[string]string{
		jwk("past", 1): "has expired at its issuer", edit(jwk("gone", nil), map[string]any{"revoked": map[string]any{"revoked_at": 1}}): "is revoked at its issuer",
	} {
		if _, _, err := ask(material); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", material, err)
		}
	}
	old := `{"keys":[` + jwk("past", 1) + `,` + jwk("older", 1) + `]}`
	if _, got, err := ask(old); err == nil || !strings.Contains(err.Error(), "public_key.keys[0].exp") || len(got.Skipped) != 2 {
		t.Errorf("a set of keys that have expired: %+v, %v", got.Skipped, err)
	}
	if entries, got, err := ask(`{"keys":[` + jwk("past", 1) + `,` + jwk("soon", soon.Unix()) + `]}`); err != nil || len(entries) != 0 || len(got.Skipped) != 2 {
		t.Errorf("beside one that is there: %+v, %+v, %v", entries, got.Skipped, err)
	}
	private := func(exp time.Time) error {
		text := must((&jose.JSONWebKey{Key: keystest.Signer(keystest.PrivateKey(t, jose.ES256)), KeyID: "signs", Algorithm: "ES256"}).MarshalJSON())
		_, err := p.store.ImportPrivate(t.Context(), tester, acme.ID, PrivateImport{Key: []byte(edit(string(text), map[string]any{"exp": exp.Unix()})), Alg: jose.ES256})
		return err
	}
	var fault *tokens.ClaimError
	if err := private(p.clock.Now()); !errors.As(err, &fault) || fault.Field != "private_key.exp" || !strings.Contains(fault.Message, "has expired at its issuer") {
		t.Errorf("a private key that has expired: %v", err)
	}
	if p.seq(t, acme.ID) != seq {
		t.Error("something was written")
	}
	if err := private(soon); err != nil {
		t.Errorf("a private key that will expire: %v", err)
	}
}

// A carrier fits tenants whose caches live long, becomes a policy when asked
// to, and one import makes it once.
func TestCarriers(t *testing.T) {
	p := newProcess(t)
	long := tenant.DefaultPolicy(jose.ES256)
	long.Default, long.PublishLead, long.RotationInterval = true, 20*24*time.Hour, 0
	caching := tenant.DefaultCaching
	caching.MaxAge = 7 * 24 * time.Hour
	acme, err := p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "acme", Caching: caching, Policies: []tenant.Policy{long}})
	if err != nil {
		t.Fatal(err)
	}
	rs := keystest.PrivateKey(t, jose.RS256).Public()
	set := `{"keys":[` + string(must(keys.PublicJWK(rs, jose.RS256, "a"))) + `,` + string(must(keys.PublicJWK(rs, jose.RS256, "b"))) + `]}`
	ends := p.clock.Now().Add(time.Hour)
	if _, _, err := p.store.ImportPublic(t.Context(), tester, acme.ID, PublicImport{Key: []byte(set), ExpiresAt: ends}); err != nil {
		t.Fatal(err)
	}
	one := PublicImport{Key: must(keys.PublicJWK(rs, jose.RS256, "c")), ExpiresAt: ends.Add(time.Hour)}
	if _, _, err := p.store.ImportPublic(t.Context(), tester, acme.ID, one); err != nil {
		t.Fatal(err)
	}
	page, err := p.audit.List(t.Context(), acme.ID, audit.Filter{Ascending: true, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range page.Events[len(page.Events)-5:] {
		told = append(told, string(e.Action))
	}
	if got := strings.Join(told, " "); got != "policy.created policy.retired key.imported key.imported key.imported" {
		t.Error(got)
	}
	p.clock.Advance(61 * time.Minute)
	if done := p.tick(t); done.Expired != 2 || done.Created != 0 {
		t.Errorf("%+v", done)
	}
	policy := tenant.DefaultPolicy(jose.RS256)
	policy.PublishLead = long.PublishLead
	if _, created, err := p.store.PutPolicy(t.Context(), tester, acme.ID, policy); err != nil || !created {
		t.Errorf("%v %v", created, err)
	}
	p.intact(t, acme.ID)
}

func TestRepeatedImport(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	req := PrivateImport{Key: []byte(written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["JWK"]), Alg: jose.ES256}
	request := func(hash string) (e Entry, replayed bool, err error) {
		once := tenant.Once{TenantID: &acme.ID, CredentialID: "c", Key: "once", RequestHash: []byte(strings.Repeat(hash, 32))}
		a, replayed, err := p.tenants.RunOnce(t.Context(), once, func(ctx context.Context) (tenant.Answer, error) {
			e, err := p.store.ImportPrivate(ctx, tester, acme.ID, req)
			return tenant.Answer{Status: 201, Body: []byte(e.KID)}, err
		})
		if err == nil {
			e, err = p.store.Find(t.Context(), acme.ID, string(a.Body))
		}
		return e, replayed, err
	}
	first, _, err := request("a")
	if err != nil {
		t.Fatal(err)
	}
	seq := p.seq(t, acme.ID)
	again, replayed, err := request("a")
	if err != nil || !replayed || again.KID != first.KID || again.State != keys.Standby {
		t.Errorf("%+v, %v", again, err)
	}
	req.KID = "another"
	if _, _, err := request("b"); !errors.Is(err, tenant.ErrIdempotencyMismatch) {
		t.Error(err)
	}
	if p.seq(t, acme.ID) != seq {
		t.Error("a repeated request wrote something")
	}
}

package moves

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// A certificate of destruction lists all that a tenant had, is signed by the
// platform, and says the same long after.
func TestDestructionIsCertified(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	if _, err := p.signer.Destruction(t.Context(), made.ID); !errors.Is(err, signing.ErrNotDeleted) {
		t.Errorf("a live tenant: %v", err)
	}
	if _, err := p.signer.Destruction(t.Context(), uuid.Max); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("no tenant: %v", err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.RotateDataKey(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.store.DeleteTenant(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	d, err := p.signer.Destruction(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	report, err := p.audit.Verify(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.Slug != "acme" || len(d.Keys) != 3 || len(d.DataKeys) != 2 || d.Head.Seq != report.Head.Seq {
		t.Errorf("got %+v", d)
	}
	for _, k := range d.Keys {
		if k.Thumbprint != k.KID || k.PrivateDestroyedAt == nil || k.PrivateDestroyedAt.After(d.DeletedAt) {
			t.Errorf("got %+v", k)
		}
	}
	signed, err := p.signer.CertifyDestruction(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	p.wantCertificate(t, signed.JWS, d)

	p.clock.Advance(365 * 24 * time.Hour)
	for p.tick(t).Purged > 0 {
	}
	if again, err := p.signer.Destruction(t.Context(), made.ID); err != nil || !reflect.DeepEqual(d, again) {
		t.Errorf("a year later: %+v, %v", again, err)
	}
}

func (p *process) wantCertificate(t *testing.T, jws string, d signing.Destruction) {
	t.Helper()
	platform, _, err := p.snapshots.Get(t.Context(), tenant.PlatformSlug)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(platform.JWKS, &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := parsed.Verify(set)
	if err != nil || parsed.Signatures[0].Protected.ExtraHeaders["typ"] != signing.DestructionType {
		t.Fatalf("%+v: %v", parsed.Signatures[0].Protected, err)
	}
	var said struct {
		Sub         uuid.UUID
		Iss         string
		Destruction signing.Destruction
	}
	if err := json.Unmarshal(payload, &said); err != nil || !reflect.DeepEqual(said.Destruction, d) || said.Sub != d.TenantID {
		t.Errorf("%s says %+v, %v", payload, said, err)
	}
	if said.Iss != "https://keys.example/t/platform" {
		t.Errorf("by %s", said.Iss)
	}
}

// What is not destroyed is not certified.
func TestNoFalseCertificate(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	if err := p.store.DeleteTenant(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, p.dsn, `SET session_replication_role = replica;
		UPDATE data_keys d SET wrapped = 'x', master_key_id = m.id, destroyed_at = NULL FROM master_keys m WHERE d.tenant_id = '`+made.ID.String()+"'")
	if d, err := p.signer.Destruction(t.Context(), made.ID); err == nil {
		t.Errorf("got %+v", d)
	}
}

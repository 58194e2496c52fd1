package moves

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// fromRows is what a tenant's JWK Set must be, made of its rows.
func (p *process) fromRows(t testing.TB, id uuid.UUID, at time.Time) snapshot.Set {
	t.Helper()
	var set snapshot.Set
	err := p.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
		row, err := tx.GetTenant(t.Context(), id)
		if err != nil {
			return err
		}
		l := p.store.newLedger(tenant.TenantRow(row), tester, time.Now())
		if err := p.store.loadLedgers(t.Context(), tx, l); err != nil {
			return err
		}
		set, err = snapshot.RenderSet(at, l.keys, l.livePolicies())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// served fails the test unless a tenant's JWK Set is up to date in its row, and
// is what its keys say. A tenant that is deleted has none.
func (p *process) served(t testing.TB, id uuid.UUID) {
	t.Helper()
	read, err := p.db.PublicTenant(t.Context(), id, "")
	if errors.Is(err, db.ErrNoRows) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var micros int64
	if _, err := fmt.Sscanf(read.Tenant.Outline, "v1 %d\n", &micros); err != nil || read.Tenant.JWKS == nil {
		t.Errorf("the JWK Set of %s is not up to date: %v", read.Tenant.Slug, err)
		return
	}
	want := p.fromRows(t, id, time.UnixMicro(micros)).Sealed(p.custody.Authority(), id)
	if !bytes.Equal(read.Tenant.JWKS, want.Body) || read.Tenant.Outline != want.Outline {
		t.Errorf("%s is served\n%s\n%s\nand its keys say\n%s\n%s", read.Tenant.Slug, read.Tenant.JWKS, read.Tenant.Outline, want.Body, want.Outline)
	}
}

// Whatever is done to a tenant, what is served of it is written with it.
func TestEveryChangeIsServed(t *testing.T) {
	p := newProcess(t)
	ctx, made := t.Context(), p.tenant(t, "acme", asDefault(jose.ES256), tenant.DefaultPolicy(jose.EdDSA))
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"created", func() error { return nil }},
		{"rotated", func() error { _, err := p.store.Rotate(ctx, tester, made.ID, RotateRequest{}); return err }},
		{"rotated by the schedule", func() error {
			p.clock.Advance(40 * 24 * time.Hour)
			if done := p.tick(t); done.Rotated == 0 {
				return fmt.Errorf("%+v", done)
			}
			return nil
		}},
		{"revoked", func() error {
			_, err := p.store.Revoke(ctx, tester, made.ID, p.in(t, made.ID, keys.Active)[0], RevokeRequest{Reason: keys.Compromised})
			return err
		}},
		{"another default", func() error {
			other := tenant.DefaultPolicy(jose.EdDSA)
			other.Default, other.DefaultTokenTTL = true, time.Minute
			_, _, err := p.store.PutPolicy(ctx, tester, made.ID, other)
			return err
		}},
		{"a policy more", func() error {
			_, _, err := p.store.PutPolicy(ctx, tester, made.ID, tenant.DefaultPolicy(jose.ES384))
			return err
		}},
		{"a policy less", func() error { return p.store.RetirePolicy(ctx, tester, made.ID, jose.ES256) }},
		{"data key rotated", func() error { _, err := p.store.RotateDataKey(ctx, tester, made.ID); return err }},
		{"settings", func() error {
			_, err := p.tenants.Update(ctx, tester, made.ID, tenant.Change{Name: tenant.Some("Acme"), MaxAge: tenant.Some(time.Minute)})
			return err
		}},
		{"suspended", func() error {
			_, err := p.tenants.Update(ctx, tester, made.ID, tenant.Change{Status: tenant.Some(tenant.Suspended)})
			return err
		}},
		{"resumed", func() error {
			_, err := p.tenants.Update(ctx, tester, made.ID, tenant.Change{Status: tenant.Some(tenant.Active)})
			return err
		}},
		{"a credential", func() error {
			_, _, err := p.tenants.CreateAPIKey(ctx, tester, tenant.NewAPIKey{TenantID: &made.ID, Role: tenant.TenantAdmin, Name: "x"})
			return err
		}},
		{"master key rotated", func() error { _, err := p.custody.RotateMaster(ctx, tester, "", custody.RewrapOptions{}); return err }},
		{"revoked all", func() error {
			_, err := p.store.RevokeAll(ctx, tester, made.ID, keys.Compromised, "")
			return err
		}},
		{"purged", func() error { p.clock.Advance(200 * 24 * time.Hour); p.tick(t); return nil }},
	} {
		if err := change.do(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		t.Run(change.name, func(t *testing.T) { p.served(t, made.ID) })
	}
}

// A row that is behind, of another form or not there is passed over: what is
// served does not change, except in how long it takes.
func TestSetsThatDoNotCount(t *testing.T) {
	p := newProcess(t)
	made, other := p.tenant(t, "acme"), p.tenant(t, "other")
	want := p.fromRows(t, made.ID, time.Now())
	for name, sql := range map[string]string{
		"behind":           "UPDATE tenants SET jwks = 'old', jwks_xid = '1' WHERE id = '%[1]s'",
		"ahead":            "UPDATE tenants SET jwks = 'new', jwks_xid = '18446744073709551615' WHERE id = '%[1]s'",
		"of another form":  "UPDATE tenants SET jwks = 'odd', jwks_outline = 'v2' || substr(jwks_outline, 3) WHERE id = '%[1]s'",
		"of somebody else": "UPDATE tenants t SET jwks = o.jwks, jwks_outline = o.jwks_outline, jwks_xid = o.jwks_xid FROM tenants o WHERE t.id = '%[1]s' AND o.id = '%[2]s'",
		"not there":        "UPDATE tenants SET jwks = NULL, jwks_outline = NULL, jwks_xid = NULL WHERE id = '%[1]s'",
	} {
		dbtest.Exec(t, p.dsn, "CREATE TABLE before AS SELECT * FROM tenants; SET session_replication_role = replica; "+fmt.Sprintf(sql, made.ID, other.ID))
		p.snapshots.Missed()
		snap, _, err := p.snapshots.Get(t.Context(), "acme")
		if err != nil || !bytes.Equal(snap.JWKS, want.Body) || snap.Policies()[0].ActiveKID == "" {
			t.Errorf("%s: served is %s, %v", name, snap.JWKS, err)
		}
		if read, err := p.db.PublicTenant(t.Context(), made.ID, ""); err != nil || read.Tenant.JWKS != nil || len(read.Keys) != 2 {
			t.Errorf("%s: it counts: %s, %v", name, read.Tenant.JWKS, err)
		}
		dbtest.Exec(t, p.dsn, `SET session_replication_role = replica;
			UPDATE tenants t SET jwks = b.jwks, jwks_outline = b.jwks_outline, jwks_xid = b.jwks_xid FROM before b WHERE t.id = b.id; DROP TABLE before`)
	}
}

// A key that is not what its row says is nobody's JWK Set, but its tenant goes
// on: the set of before no longer counts.
func TestADamagedKeyIsNotServed(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	dbtest.Exec(t, p.dsn, `SET session_replication_role = replica; UPDATE keys SET public_jwk = '{"kty":"oct"}' WHERE state = 'standby'`)
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, p.only(t, made.ID, keys.Active), RevokeRequest{Reason: keys.Compromised, Mode: FreshTakesOver}); err != nil {
		t.Fatal(err)
	}
	if snap, _, err := p.snapshots.Get(t.Context(), made.ID.String()); err == nil {
		t.Errorf("served is %s", snap.JWKS)
	}
}

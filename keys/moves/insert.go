package moves

import (
	"context"
	"errors"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

func (s *Store) insertTenant(ctx context.Context, tx *db.Tx, l *ledger, dataKey custody.DataKeyRow, idem *tenant.Idempotency) error {
	st := new(statements).collect([]*ledger{l})
	w := tx.Later()
	row, set := tenant.RowOf(l.tenant), l.set()
	err := w.InsertTenant(ctx, db.InsertTenantParams{
		ID: row.ID, Slug: row.Slug, Name: row.Name, Issuer: row.Issuer, CustomDomain: row.CustomDomain,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		AuditSeq: l.next.Seq, AuditHash: l.next.Hash, CreatedAt: l.at,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		JWKS: set.Body, JWKSOutline: &set.Outline,
	})
	if err != nil {
		return err
	}
	if err := w.InsertDataKey(ctx, db.InsertDataKeyParams(dataKey)); err != nil {
		return err
	}
	for _, p := range l.policies {
		if err := w.UpsertPolicy(ctx, l.upsert(p)); err != nil {
			return err
		}
	}
	if err := st.queue(ctx, w); err != nil {
		return err
	}
	if idem != nil {
		if err := remember(ctx, tx, w, l, idem); err != nil {
			return err
		}
	}
	return w.Send(ctx)
}

// remember writes the Idempotency-Key down beside what it made, under the
// platform's tenant: a tenant that makes itself has no other.
func remember(ctx context.Context, tx *db.Tx, w *db.Writes, l *ledger, idem *tenant.Idempotency) error {
	platform, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
	if err != nil {
		return err
	}
	return w.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
		TenantID: platform, CredentialID: idem.CredentialID, Key: idem.Key, RequestHash: idem.RequestHash,
		ResourceID: l.tenant.ID, CreatedAt: l.at,
	})
}

// refusedTenant says why the database refused a new tenant.
func (cfg Config) refusedTenant(ctx context.Context, err error, idem *tenant.Idempotency) error {
	rule := db.Constraint(err)
	if idem != nil && (rule == "idempotency_keys_pkey" || rule == "tenants_live_slug") {
		if replay := cfg.replay(ctx, idem); replay != nil {
			return replay
		}
	}
	return tenant.Refused(err)
}

// replay returns what an Idempotency-Key made before; nil if nothing.
func (cfg Config) replay(ctx context.Context, idem *tenant.Idempotency) error {
	var found db.GetIdempotencyKeyRow
	err := cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		platform, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
		if err != nil {
			return err
		}
		found, err = tx.GetIdempotencyKey(ctx, platform, idem.CredentialID, idem.Key)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return idem.Replay(found.RequestHash, found.ResourceID)
}

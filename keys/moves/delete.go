package moves

import (
	"context"
	"math"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// DeleteTenant revokes every published key of a tenant, destroys its data keys,
// revokes its credentials and frees its slug, in one transaction. The rows and
// the history stay. Errors: tenant.ErrNotFound, tenant.ErrBuiltIn,
// ErrUnavailable.
func (s *Store) DeleteTenant(ctx context.Context, by audit.By, tenantID uuid.UUID) error {
	var versions []int32
	err := s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		l, err := s.open(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		if l.tenant.Slug == tenant.PlatformSlug {
			return tenant.ErrBuiltIn
		}
		live, err := tx.ListLiveDataKeys(ctx, tenantID)
		if err != nil {
			return err
		}
		for _, row := range live {
			versions = append(versions, row.Version)
		}
		credentials, err := tx.ListUnrevokedTenantAPIKeys(ctx, tenantID)
		if err != nil {
			return err
		}
		if err := l.bury(versions, credentials); err != nil {
			return err
		}
		return l.writeDeletion(ctx, tx, len(versions), len(credentials))
	})
	if err != nil {
		return err
	}
	for _, v := range versions {
		s.cfg.Custody.Forget(tenantID, v)
	}
	return nil
}

// bury notes everything that ends with a tenant.
func (l *ledger) bury(dataKeys []int32, credentials []db.ListUnrevokedTenantAPIKeysRow) error {
	if _, err := l.revokePublished(keys.Unspecified, "the tenant was deleted"); err != nil {
		return err
	}
	for _, p := range l.live() {
		l.note(audit.Event{Action: audit.PolicyRetired}, map[string]any{"alg": p.Alg})
		p.RetiredAt, p.Default = &l.at, false
		l.setPolicy(p)
	}
	for _, p := range l.policies {
		l.reschedule(p)
	}
	for _, c := range credentials {
		l.note(audit.Event{Action: audit.APIKeyRevoked}, map[string]any{"id": c.ID, "role": c.Role, "name": c.Name})
	}
	for _, v := range dataKeys {
		l.note(audit.Event{Action: audit.DataKeyDestroyed}, map[string]any{"version": v})
	}
	l.note(audit.Event{Action: audit.TenantDeleted}, map[string]any{"slug": l.tenant.Slug})
	l.tenant.Status, l.tenant.DeletedAt, l.tenant.UpdatedAt = tenant.Deleted, &l.at, l.at
	l.rowMoves = true
	return nil
}

func (l *ledger) writeDeletion(ctx context.Context, tx *db.Tx, dataKeys, credentials int) error {
	st := new(statements).collect([]*ledger{l})
	w := tx.Later()
	if _, err := w.UpdateTenant(ctx, l.update()); err != nil {
		return err
	}
	w.Expect(1)
	if err := st.queue(ctx, w); err != nil {
		return err
	}
	algs := make([]string, len(l.policies))
	for i, p := range l.policies {
		algs[i] = string(p.Alg)
	}
	if _, err := w.RetirePolicies(ctx, &l.at, l.tenant.ID, algs); err != nil {
		return err
	}
	if _, err := w.RevokeTenantAPIKeys(ctx, &l.at, l.tenant.ID); err != nil {
		return err
	}
	w.Expect(credentials)
	if _, err := w.DestroyDataKeys(ctx, &l.at, l.tenant.ID, math.MaxInt32); err != nil {
		return err
	}
	w.Expect(dataKeys)
	return w.Send(ctx)
}

// update is the tenant's own row as the ledger leaves it.
func (l *ledger) update() db.UpdateTenantParams {
	row, set := tenant.RowOf(l.tenant), l.set()
	return db.UpdateTenantParams{
		Name: row.Name, Issuer: row.Issuer, CustomDomain: row.CustomDomain, Status: row.Status,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		CacheHorizon: row.CacheHorizon, NotBefore: row.NotBefore, UpdatedAt: row.UpdatedAt, DeletedAt: row.DeletedAt,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		AuditSeq: l.next.Seq, AuditHash: l.next.Hash, TenantID: l.tenant.ID,
		JWKS: set.Body, JWKSOutline: &set.Outline,
	}
}

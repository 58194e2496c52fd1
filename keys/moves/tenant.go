package moves

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// CreateTenant creates a tenant with a data key and, for each policy, an active and a
// standby key. It returns after all of that is committed; a crash before leaves nothing.
// Errors: *tenant.FieldErrors, *tenant.PolicyError, tenant.ErrSlugTaken,
// tenant.ErrDomainTaken, tenant.ErrIssuerTaken, ErrUnavailable.
func (s *Store) CreateTenant(ctx context.Context, by audit.By, spec tenant.Spec) (tenant.Tenant, error) {
	if len(spec.Policies) == 0 && s.cfg.DefaultPolicy != nil {
		spec.Policies = []tenant.Policy{*s.cfg.DefaultPolicy}
	}
	if err := spec.Validate(); err != nil {
		return tenant.Tenant{}, err
	}
	return s.createTenant(ctx, by, spec)
}

// EnsurePlatform creates the platform's own tenant if it does not exist. Of several
// processes that start at once, one creates it.
func (s *Store) EnsurePlatform(ctx context.Context, by audit.By) error {
	err := s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
		return err
	})
	if !errors.Is(err, db.ErrNoRows) {
		return err
	}
	_, err = s.createTenant(ctx, by, tenant.PlatformSpec())
	if errors.Is(err, tenant.ErrSlugTaken) {
		return nil
	}
	return err
}

func (s *Store) createTenant(ctx context.Context, by audit.By, spec tenant.Spec) (tenant.Tenant, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return tenant.Tenant{}, err
	}
	first, err := s.makeFirstKeys(ctx, id, spec.Policies)
	if err != nil {
		return tenant.Tenant{}, err
	}
	var l *ledger
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		names, err := s.claimNames(ctx, tx, spec.Tenant(id, s.currentTime()))
		if err != nil {
			return err
		}
		l = s.newTenantLedger(id, spec, by, s.currentTime()) // making keys and waiting for names may have taken long
		if err := l.addFirstKeys(first); err != nil {
			return err
		}
		return s.insertTenant(ctx, tx, l, names, first.dataKey)
	})
	if err == nil {
		l.tenant.Version = l.nextHead.Seq
		return l.tenant, nil
	}
	return tenant.Tenant{}, tenant.Refused(err)
}

// newTenantLedger returns the ledger of a tenant that does not exist yet.
func (s *Store) newTenantLedger(id uuid.UUID, spec tenant.Spec, by audit.By, at time.Time) *ledger {
	l := &ledger{
		tenant: spec.Tenant(id, at), jitter: s.cfg.JitterFraction, believer: s.cfg.Custody.Authority(), head: audit.Genesis(id), by: by, at: at,
		due: map[jose.SignatureAlgorithm]time.Time{}, writesTenantRow: true,
	}
	l.addEvent(audit.Event{Action: audit.TenantCreated}, map[string]any{"slug": l.tenant.Slug})
	for _, p := range spec.Policies {
		p.CreatedAt, p.UpdatedAt = at, at
		l.policies = append(l.policies, p)
	}
	return l
}

// firstKeys are what a new tenant needs and what takes long to make: its data key and,
// for each policy, the active and the standby key.
type firstKeys struct {
	sealer     custody.Sealer
	dataKey    custody.DataKeyRow
	candidates [][2]candidate // in the order of the policies
}

// makeFirstKeys makes the keys of a new tenant, outside of any transaction.
func (s *Store) makeFirstKeys(ctx context.Context, tenantID uuid.UUID, policies []tenant.Policy) (first firstKeys, err error) {
	if first.sealer, first.dataKey, err = s.cfg.Custody.NewDataKey(ctx, tenantID, 1, time.Time{}); err != nil {
		return first, err
	}
	first.candidates = make([][2]candidate, len(policies))
	for i, p := range policies {
		for n := range first.candidates[i] {
			if first.candidates[i][n], err = s.cfg.Generator.newCandidate(ctx, uuid.Nil, p); err != nil {
				return first, err
			}
		}
	}
	return first, nil
}

// addFirstKeys adds the keys of a new tenant, which are made, at the ledger's time.
func (l *ledger) addFirstKeys(first firstKeys) error {
	l.addEvent(audit.Event{Action: audit.DataKeyCreated}, map[string]any{"version": first.sealer.Version})
	for i, p := range l.policies {
		l.addEvent(audit.Event{Action: audit.PolicyCreated}, p.Details())
		for n, how := range []keys.Activation{byFirstKey, ""} {
			if _, err := l.addKey(first.candidates[i][n], first.sealer, how); err != nil {
				return err
			}
		}
		l.reschedule(p)
	}
	return nil
}

// claimNames checks that the names of a new tenant are free. Most have none but
// those that follow from the slug, which a unique index compares.
func (s *Store) claimNames(ctx context.Context, tx *db.Tx, t tenant.Tenant) (tenant.Names, error) {
	if t.OwnIssuer == "" && t.CustomDomain == "" {
		return tenant.Names{}, nil
	}
	if err := tx.LockNames(ctx); err != nil {
		return tenant.Names{}, err
	}
	return s.cfg.Names.Claim(tenant.Tenant{}, t, func(hosts []string, domain string) (bool, error) {
		return tx.HostsTaken(ctx, hosts, t.ID, domain)
	})
}

func (s *Store) insertTenant(ctx context.Context, tx *db.Tx, l *ledger, names tenant.Names, dataKey custody.DataKeyRow) error {
	st := new(statements).addLedgers([]*ledger{l})
	w := tx.Later()
	row, set := tenant.RowOf(l.tenant), l.renderSet()
	err := w.InsertTenant(ctx, db.InsertTenantParams{
		ID: row.ID, Slug: row.Slug, Name: row.Name, Issuer: row.Issuer, IssuerName: names.Issuer, CustomDomain: row.CustomDomain,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		MAC: l.believer.TenantMAC(row), AuditSeq: l.nextHead.Seq, AuditHash: l.nextHead.Hash, AuditAt: &l.nextHead.LastAt, CreatedAt: l.at,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		JWKSPath: row.JWKSPath, JWKSHeaders: row.JWKSHeaders,
		JWKS: set.Body, JWKSOutline: &set.Outline, SearchText: l.tenant.SearchText(),
	})
	if err != nil {
		return err
	}
	dataKey.CreatedAt = l.at
	if err := w.InsertDataKey(ctx, db.InsertDataKeyParams(dataKey)); err != nil {
		return err
	}
	for _, p := range l.policies {
		if err := w.UpsertPolicy(ctx, l.policyParams(p)); err != nil {
			return err
		}
	}
	if err := st.queueTo(ctx, w); err != nil {
		return err
	}
	return w.Send(ctx)
}

// DeleteTenant revokes every published key of a tenant, destroys its data keys, revokes
// its credentials and releases its slug, in one transaction. The rows and the history
// stay. Errors: tenant.ErrNotFound, tenant.ErrBuiltIn, ErrUnavailable.
func (s *Store) DeleteTenant(ctx context.Context, by audit.By, tenantID uuid.UUID) error {
	var versions []int32
	err := s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		l, err := s.lockTenant(ctx, tx, by, tenantID)
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
		versions = nil // the transaction may run twice
		for _, row := range live {
			versions = append(versions, row.Version)
		}
		credentials, err := tx.ListUnrevokedTenantAPIKeys(ctx, tenantID)
		if err != nil {
			return err
		}
		if err := l.releaseDomains(ctx, tx); err != nil {
			return err
		}
		if err := l.endWorkloads(ctx, tx); err != nil {
			return err
		}
		if err := l.endTenant(versions, credentials); err != nil {
			return err
		}
		return l.writeDeletion(ctx, tx, len(versions), len(credentials))
	})
	if err != nil {
		return err
	}
	s.invalidateDataKeys(ctx, tenantID, versions)
	return nil
}

// releaseDomains removes the domains of a tenant that is deleted: its hosts are free.
func (l *ledger) releaseDomains(ctx context.Context, tx *db.Tx) error {
	rows, err := tx.ListDomains(ctx, l.tenant.ID, "", math.MaxInt32)
	if err != nil {
		return err
	}
	for _, row := range rows {
		l.addEvent(audit.Event{Action: audit.DomainRemoved}, map[string]any{"domain": row.Domain})
	}
	_, err = tx.DeleteDomains(ctx, l.tenant.ID)
	return err
}

// endWorkloads deletes the workload identities of a tenant that is deleted.
func (l *ledger) endWorkloads(ctx context.Context, tx *db.Tx) error {
	rows, err := tx.LockWorkloadIdentities(ctx, l.tenant.ID)
	if err != nil {
		return err
	}
	ids, owners := make([]uuid.UUID, len(rows)), make([]uuid.UUID, len(rows))
	for i, w := range rows {
		ids[i], owners[i] = w.ID, l.tenant.ID
		l.addEvent(audit.Event{Action: audit.WorkloadIdentityDeleted}, tenant.WorkloadEnd(w.ID, w.Role, w.Name, w.Issuer))
	}
	_, err = tx.DeleteWorkloadIdentities(ctx, l.at, owners, ids)
	return err
}

// endTenant adds all transitions and events of a tenant's deletion.
func (l *ledger) endTenant(dataKeys []int32, credentials []db.ListUnrevokedTenantAPIKeysRow) error {
	if _, err := l.revokePublished(keys.Unspecified, "the tenant was deleted"); err != nil {
		return err
	}
	for _, p := range l.livePolicies() {
		l.addEvent(audit.Event{Action: audit.PolicyRetired}, map[string]any{"alg": p.Alg})
		p.RetiredAt, p.UpdatedAt, p.Default = &l.at, l.at, false
		l.setPolicy(p)
	}
	for _, p := range l.policies {
		l.reschedule(p)
	}
	for _, c := range credentials {
		l.addEvent(audit.Event{Action: audit.APIKeyRevoked}, map[string]any{"id": c.ID, "role": c.Role, "name": c.Name})
	}
	for _, v := range dataKeys {
		l.addEvent(audit.Event{Action: audit.DataKeyDestroyed}, map[string]any{"version": v})
	}
	l.addEvent(audit.Event{Action: audit.TenantDeleted}, map[string]any{"slug": l.tenant.Slug})
	l.tenant.Status, l.tenant.DeletedAt, l.tenant.UpdatedAt = tenant.Deleted, &l.at, l.at
	l.writesTenantRow = true
	return nil
}

func (l *ledger) writeDeletion(ctx context.Context, tx *db.Tx, dataKeys, credentials int) error {
	w, err := l.queueWithTenantRow(ctx, tx)
	if err != nil {
		return err
	}
	algs := make([]jose.SignatureAlgorithm, len(l.policies))
	for i, p := range l.policies {
		algs[i] = p.Alg
	}
	if err := l.queueRetirements(ctx, w, algs...); err != nil {
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

// tenantParams returns the tenant's own row after the transaction.
func (l *ledger) tenantParams() db.UpdateTenantParams {
	row, set := tenant.RowOf(l.tenant), l.renderSet()
	return db.UpdateTenantParams{
		Name: row.Name, Issuer: row.Issuer, CustomDomain: row.CustomDomain, Status: row.Status,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		CacheHorizon: row.CacheHorizon, NotBefore: row.NotBefore, UpdatedAt: row.UpdatedAt, DeletedAt: row.DeletedAt,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		JWKSPath: row.JWKSPath, JWKSHeaders: row.JWKSHeaders,
		MAC: l.believer.TenantMAC(row), AuditSeq: l.nextHead.Seq, AuditHash: l.nextHead.Hash, AuditAt: &l.nextHead.LastAt, TenantID: l.tenant.ID,
		JWKS: set.Body, JWKSOutline: &set.Outline, SearchText: l.tenant.SearchText(),
	}
}

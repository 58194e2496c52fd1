package moves

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// CreateTenant makes a tenant with a data key and, for each policy, an active
// and a standby key. It answers after all of that is committed; a crash before
// leaves nothing. Errors: *tenant.FieldErrors, *tenant.PolicyError,
// tenant.ErrSlugTaken, tenant.ErrDomainTaken, *tenant.ReplayError for an
// Idempotency-Key that has made a tenant already, ErrUnavailable.
func (s *Store) CreateTenant(ctx context.Context, by audit.By, spec tenant.Spec, idem *tenant.Idempotency) (tenant.Tenant, error) {
	if err := spec.Validate(); err != nil {
		return tenant.Tenant{}, err
	}
	return s.createTenant(ctx, by, spec, idem)
}

// EnsurePlatform makes the platform's own tenant if there is none. Of several
// processes that start at once, one does.
func (s *Store) EnsurePlatform(ctx context.Context, by audit.By) error {
	err := s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
		return err
	})
	if !errors.Is(err, db.ErrNoRows) {
		return err
	}
	_, err = s.createTenant(ctx, by, tenant.PlatformSpec(), nil)
	if errors.Is(err, tenant.ErrSlugTaken) {
		return nil
	}
	return err
}

func (s *Store) createTenant(ctx context.Context, by audit.By, spec tenant.Spec, idem *tenant.Idempotency) (tenant.Tenant, error) {
	at := s.now()
	id, err := uuid.NewV7()
	if err != nil {
		return tenant.Tenant{}, err
	}
	l := s.newborn(id, spec, by, at)
	sealer, dataKey, err := s.cfg.Custody.NewDataKey(ctx, l.tenant.ID, 1, at)
	if err != nil {
		return tenant.Tenant{}, err
	}
	l.note(audit.Event{Action: audit.DataKeyCreated}, map[string]any{"version": sealer.Version})
	for _, p := range l.policies {
		if err := s.found(ctx, l, p, sealer); err != nil {
			return tenant.Tenant{}, err
		}
	}
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error { return s.insertTenant(ctx, tx, l, dataKey, idem) })
	if err == nil {
		l.tenant.Version = l.next.Seq
		return l.tenant, nil
	}
	return tenant.Tenant{}, s.cfg.refusedTenant(ctx, err, idem)
}

// newborn opens the ledger of a tenant that does not exist yet.
func (s *Store) newborn(id uuid.UUID, spec tenant.Spec, by audit.By, at time.Time) *ledger {
	l := &ledger{
		tenant: spec.Tenant(id, at), jitter: s.cfg.JitterFraction, head: audit.Genesis(id), by: by, at: at,
		due: map[jose.SignatureAlgorithm]time.Time{}, rowMoves: true,
	}
	l.note(audit.Event{Action: audit.TenantCreated}, map[string]any{"slug": l.tenant.Slug})
	for _, p := range spec.Policies {
		p.CreatedAt, p.UpdatedAt = at, at
		l.policies = append(l.policies, p)
	}
	return l
}

// found gives a new policy its first two keys.
func (s *Store) found(ctx context.Context, l *ledger, p tenant.Policy, sealer custody.Sealer) error {
	l.note(audit.Event{Action: audit.PolicyCreated}, p.Details())
	for _, how := range []keys.Activation{keys.First, ""} {
		c, err := s.candidate(ctx, p)
		if err != nil {
			return err
		}
		if _, err := l.enter(c, sealer, how); err != nil {
			return err
		}
	}
	l.reschedule(p)
	return nil
}

// upsert is the row of one of the ledger's policies.
func (l *ledger) upsert(p tenant.Policy) db.UpsertPolicyParams {
	row := tenant.PolicyRowOf(l.tenant.ID, p)
	var due *time.Time
	if at, set := l.due[p.Alg]; set && !at.IsZero() {
		due = &at
	}
	return db.UpsertPolicyParams{
		TenantID: row.TenantID, Alg: row.Alg, IsDefault: row.IsDefault, RSABits: row.RSABits,
		RotationIntervalSeconds: row.RotationIntervalSeconds, PublishLeadSeconds: row.PublishLeadSeconds,
		GracePeriodSeconds: row.GracePeriodSeconds, PurgeAfterSeconds: row.PurgeAfterSeconds,
		DefaultTokenTTLSeconds: row.DefaultTokenTTLSeconds, MaxTokenTTLSeconds: row.MaxTokenTTLSeconds,
		MaxPublishedKeys: row.MaxPublishedKeys, DueAt: due, UpdatedAt: l.at,
	}
}

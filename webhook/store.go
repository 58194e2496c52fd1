package webhook

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// most is how many webhooks a tenant, or the platform, may have.
const most = 20

// Config says what a Store needs.
type Config struct {
	DB    *db.DB
	Allow []netip.Prefix   // private networks that may be posted to, also by http
	Now   func() time.Time // nil: time.Now
}

// Store reads and changes webhooks and their deliveries. Every change is one
// transaction with its audit event; a crash before the answer leaves both or
// neither. Where a method takes a tenant, nil stands for the platform, whose
// webhooks are told of every tenant's events: callers see to it that only the
// platform's credentials get there.
type Store struct {
	db      *db.DB
	now     func() time.Time
	targets *targets
}

// NewStore returns a Store.
func NewStore(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{
		db: cfg.DB, targets: newTargets(cfg.Allow, nil),
		now: func() time.Time { return cfg.Now().UTC().Truncate(time.Microsecond) },
	}
}

// in runs fn where a tenant's webhooks are, or the platform's; home is the
// tenant that their rows belong to.
func (s *Store) in(ctx context.Context, tenantID *uuid.UUID, fn func(tx *db.Tx, home uuid.UUID) error) error {
	if tenantID != nil {
		return s.db.InTenant(ctx, *tenantID, func(tx *db.Tx) error { return fn(tx, *tenantID) })
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		home, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
		if errors.Is(err, db.ErrNoRows) {
			return tenant.ErrNoPlatform
		}
		if err != nil {
			return err
		}
		return fn(tx, home)
	})
}

// change is in with the lock that every change of a tenant takes first, for a
// tenant that lives.
func (s *Store) change(ctx context.Context, tenantID *uuid.UUID, fn func(tx *db.Tx, home tenant.TenantRow) error) error {
	return s.in(ctx, tenantID, func(tx *db.Tx, id uuid.UUID) error {
		row, err := tx.LockTenant(ctx, id)
		if errors.Is(err, db.ErrNoRows) || err == nil && row.Status == string(tenant.Deleted) {
			return tenant.ErrNotFound
		}
		if err != nil {
			return err
		}
		return fn(tx, tenant.TenantRow(row))
	})
}

// sendWithEvent sends what is queued with one event in home's chain.
func sendWithEvent(ctx context.Context, w *db.Writes, home tenant.TenantRow, e audit.Event) error {
	a := audit.NewWrite(home.Head(), []audit.Event{e}, tenant.ChangePayloads(home.ID, home.Slug)...)
	return w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

// place is where a webhook begins, or goes on: before whatever this
// transaction tells. Of all tenants' events, some of shortly before may come.
func place(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID, home tenant.TenantRow) (xid uint64, seq int64, err error) {
	if tenantID != nil {
		return 0, home.AuditSeq, nil
	}
	bounds, err := tx.FeedBounds(ctx)
	return bounds.Settled, 0, err
}

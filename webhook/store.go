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

// maxWebhooks is the limit for a tenant, and for the platform.
const maxWebhooks = 20

// Config configures a Store.
type Config struct {
	DB    *db.DB
	Allow []netip.Prefix   // private networks that are allowed as targets, also by http
	Now   func() time.Time // nil: time.Now
}

// Store reads and changes webhooks and their deliveries. Every change is one
// transaction with its audit event. A nil tenantID stands for the platform, whose
// webhooks receive every tenant's events: callers must allow that only to the
// platform's credentials.
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

// inHome runs fn in a transaction for a tenant's webhooks, or the platform's. home is
// the tenant that owns their rows.
func (s *Store) inHome(ctx context.Context, tenantID *uuid.UUID, fn func(tx *db.Tx, home uuid.UUID) error) error {
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

// changeHome runs fn as inHome does, with the tenant's row locked. Errors:
// tenant.ErrNotFound if the tenant is deleted.
func (s *Store) changeHome(ctx context.Context, tenantID *uuid.UUID, fn func(tx *db.Tx, home tenant.TenantRow) error) error {
	return s.inHome(ctx, tenantID, func(tx *db.Tx, id uuid.UUID) error {
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

// sendWithEvent sends the queued statements with one event in home's chain.
func sendWithEvent(ctx context.Context, w *db.Writes, home tenant.TenantRow, e audit.Event) error {
	a := audit.NewWrite(home.Head(), []audit.Event{e}, tenant.ChangePayloads(home.ID, home.Slug)...)
	return w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

// startPlace returns the place in the feed of a new or re-enabled webhook: before
// this transaction's events. A webhook of the platform may also get a few events
// from shortly before.
func startPlace(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID, home tenant.TenantRow) (xid uint64, seq int64, err error) {
	if tenantID != nil {
		return 0, home.AuditSeq, nil
	}
	bounds, err := tx.FeedBounds(ctx)
	return bounds.Settled, 0, err
}

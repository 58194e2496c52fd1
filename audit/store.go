package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Errors of this package; test with errors.Is.
var (
	ErrNotFound    = errors.New("audit: no such tenant")
	ErrBadCursor   = errors.New("audit: invalid cursor")
	ErrBadPosition = errors.New("audit: invalid feed position")
	ErrUnavailable = db.ErrUnavailable
)

// Config configures a Store.
type Config struct {
	DB  *db.DB
	Now func() time.Time // nil: time.Now
}

// Store reads the histories of tenants and appends events without a change.
type Store struct {
	db      *db.DB
	now     func() time.Time
	watches *watches
}

// New returns a Store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{db: cfg.DB, now: cfg.Now, watches: newWatches()}
}

// Append writes events without a change, such as denied attempts, in a transaction
// of their own. A zero Event.At means now. Other processes are not notified: no
// cached data has changed, and their feeds poll. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) Append(ctx context.Context, tenantID uuid.UUID, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	now := s.now()
	stamped := make([]Event, len(events))
	for i, e := range events {
		if e.At.IsZero() {
			e.At = now
		}
		stamped[i] = e
	}
	err := s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error { return appendEvents(ctx, tx, tenantID, stamped) })
	s.Changed(tenantID)
	return wrapError("append", err)
}

func appendEvents(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, events []Event) error {
	row, err := tx.LockTenant(ctx, tenantID)
	if err != nil {
		return err
	}
	w := NewWrite(Head{TenantID: row.ID, Seq: row.AuditSeq, Hash: row.AuditHash}, events)
	w.Heads.Visible = slices.ContainsFunc(events, Event.visibleToVerifiers)
	return tx.Later().SendWithAudit(ctx, db.MoveAuditHeadsParams(w.Heads), db.InsertAuditEventsParams(w.Events), w.Payloads)
}

// wrapError adds the operation to err, and returns ErrNotFound for an unknown
// tenant.
func wrapError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, db.ErrNoRows):
		return ErrNotFound
	}
	return fmt.Errorf("audit: %s: %w", what, err)
}

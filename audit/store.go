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
// of their own. Event.At should be zero: it becomes the time at which they are written,
// as late as that may be. The database refuses another time than the present. Other processes are not notified: no
// cached data has changed, and their feeds poll. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) Append(ctx context.Context, tenantID uuid.UUID, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	err := s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error { return s.appendEvents(ctx, tx, tenantID, events) })
	s.Changed(tenantID)
	return wrapError("append", err)
}

func (s *Store) appendEvents(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, events []Event) error {
	row, err := tx.LockTenant(ctx, tenantID)
	if err != nil {
		return err
	}
	head := Head{TenantID: row.ID, Seq: row.AuditSeq, Hash: row.AuditHash, LastAt: db.ZeroIfNull(row.AuditAt)}
	w := NewWrite(head, stampEvents(head, events, s.now()))
	w.Heads.Visible = slices.ContainsFunc(events, Event.visibleToVerifiers)
	return tx.Later().SendWithAudit(ctx, db.MoveAuditHeadsParams(w.Heads), db.InsertAuditEventsParams(w.Events), w.Payloads)
}

// stampEvents returns events with times that continue the chain: now unless they have
// their own, and none before the event before it.
func stampEvents(head Head, events []Event, now time.Time) []Event {
	stamped := slices.Clone(events)
	for i, e := range stamped {
		if e.At.IsZero() {
			e.At = now
		}
		stamped[i].At = head.TimeOfEffect(e.At)
		head.LastAt = stamped[i].At
	}
	return stamped
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

package audit

import (
	"context"
	"math"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Export calls each with every event that matches the filter: of one tenant, also
// a deleted one, or of all tenants if Filter.TenantID is uuid.Nil, which callers
// must allow only to the platform. It starts after Filter.Cursor, if set, and ends
// after Filter.Limit events, if that is not 0.
//
// Export reads page by page, each in a transaction of its own, so that a slow
// reader holds one page in memory and no database connection. The export of a
// tenant ends with the event that was its last at the start. The export of all
// tenants ends with events of the start time and misses later commits.
// Errors: ErrBadCursor, ErrNotFound, ErrUnavailable, and the errors of each.
func (s *Store) Export(ctx context.Context, f Filter, each func(Event) error) error {
	f, left := f.bounded(), f.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	at, err := f.position()
	if err != nil {
		return err
	}
	last, err := s.lastSeq(ctx, f.TenantID)
	if err != nil {
		return wrapError("export", err)
	}
	if now := s.now(); f.TenantID == uuid.Nil && f.Until.After(now) {
		f.Until = now.UTC()
	}
	if !f.Ascending && at.Seq > last {
		at.Seq = last + 1
	}
	f.Limit = min(left, eventsInMemory)
	return s.export(ctx, f, at, last, left, each)
}

// lastSeq returns the seq of a tenant's last event, math.MaxInt64 for uuid.Nil.
func (s *Store) lastSeq(ctx context.Context, tenantID uuid.UUID) (last int64, err error) {
	if tenantID == uuid.Nil {
		return math.MaxInt64, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		head, err := currentHead(ctx, tx, tenantID)
		last = head.Seq
		return err
	})
	return last, err
}

func (s *Store) export(ctx context.Context, f Filter, at position, last int64, left int, each func(Event) error) error {
	for {
		events, err := s.read(ctx, f, at)
		if err != nil {
			return wrapError("export", err)
		}
		for _, e := range events[:min(len(events), f.Limit)] {
			if left == 0 || f.Ascending && e.Seq > last {
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
			at = positionAfter(e)
			left--
		}
		if len(events) <= f.Limit {
			return nil
		}
	}
}

package audit

import (
	"context"
	"math"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Export calls each with every event that the filter chooses, of one tenant,
// also a deleted one, or of all where Filter.TenantID is uuid.Nil: callers see
// to it that only the platform asks for that. It begins behind Filter.Cursor,
// if there is one; a Filter.Limit caps the whole, 0 does not.
//
// It reads page after page, each in a transaction of its own, so that an export
// holds one page in memory and nothing of the database while its reader is
// slow. A tenant's ends with the event that was the last when it began; that of
// all tenants ends with the time when it began, and misses what commits late.
// Errors: ErrBadCursor, ErrNotFound, ErrUnavailable, and those of each.
func (s *Store) Export(ctx context.Context, f Filter, each func(Event) error) error {
	f, left := f.bounded(), f.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	at, err := f.position()
	if err != nil {
		return err
	}
	last, err := s.lastOf(ctx, f.TenantID)
	if err != nil {
		return failed("export", err)
	}
	if now := s.now(); f.TenantID == uuid.Nil && f.Until.After(now) {
		f.Until = now.UTC()
	}
	if !f.Ascending && at.Seq > last {
		at.Seq = last + 1
	}
	f.Limit = min(left, stretch)
	return s.export(ctx, f, at, last, left, each)
}

// lastOf is the seq of a tenant's last event; of all tenants there is none.
func (s *Store) lastOf(ctx context.Context, tenantID uuid.UUID) (last int64, err error) {
	if tenantID == uuid.Nil {
		return math.MaxInt64, nil
	}
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
			return failed("export", err)
		}
		for _, e := range events[:min(len(events), f.Limit)] {
			if left == 0 || f.Ascending && e.Seq > last {
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
			at = behind(e)
			left--
		}
		if len(events) <= f.Limit {
			return nil
		}
	}
}

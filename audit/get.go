package audit

import (
	"context"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Get returns one event of a tenant, also of a deleted one. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Get(ctx context.Context, tenantID uuid.UUID, seq int64) (e Event, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		events, err := read(ctx, tx, Filter{TenantID: tenantID, Ascending: true, Limit: 1}.bounded(), position{Seq: seq - 1})
		if err != nil {
			return err
		}
		if len(events) == 0 || events[0].Seq != seq {
			return ErrNotFound
		}
		e = events[0]
		return nil
	})
	return e, failed("get", err)
}

package webhook

import (
	"context"
	"time"

	"github.com/keyward/keyward/db"
)

const (
	remembered  = 30 * 24 * time.Hour // how long deliveries can be looked at
	forgetBatch = 10_000
)

// Forget removes deliveries that are older than 30 days, those of webhooks that
// were deleted, and such webhooks themselves. It is the worker's chore. Errors:
// ErrUnavailable.
func (s *Store) Forget(ctx context.Context) error {
	before := s.now().Add(-remembered)
	for n := int64(forgetBatch); n == forgetBatch; {
		err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			n, err = tx.ForgetDeliveries(ctx, forgetBatch, before)
			return err
		})
		if err != nil {
			return failed("forget deliveries", err)
		}
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ForgetWebhooks(ctx, before)
		return err
	})
	return failed("forget webhooks", err)
}

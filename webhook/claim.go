package webhook

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// minPollPause bounds how often the deliver loop polls.
const minPollPause = 20 * time.Millisecond

// claim is a webhook that this sender has leased.
type claim struct {
	tenantID, id uuid.UUID
	ofAll        bool
	url          string
	lease        time.Time
	failures     int
	failingSince *time.Time
}

// claim leases up to n webhooks with deliveries due. If this process ends, other
// senders claim them when the lease is over.
func (s *Sender) claim(ctx context.Context, n int) (claims []claim, err error) {
	now := s.store.now()
	lease := now.Add(s.cfg.Lease)
	err = s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.ClaimWebhooks(ctx, lease, now, int32(n))
		for _, r := range rows {
			claims = append(claims, claim{
				tenantID: r.TenantID, id: r.ID, ofAll: r.OfAll, url: db.ZeroIfNull(r.Url), lease: lease,
				failures: int(r.Failures), failingSince: db.UTC(r.FailingSince),
			})
		}
		return err
	})
	return claims, err
}

// timeToNextDue returns the time until a webhook has a delivery due, at most
// SenderConfig.Look: other processes may create deliveries without a notification.
func (s *Sender) timeToNextDue(ctx context.Context) time.Duration {
	var at time.Time
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		at, err = tx.NextWebhookReady(ctx)
		return err
	})
	if err != nil { // also if there is none
		return s.cfg.Look
	}
	return min(max(at.Sub(s.store.now()), minPollPause), s.cfg.Look)
}

// record stores the result of an attempt and renews the lease. Errors: db.ErrGuard
// if another sender holds the lease or the webhook is no longer active.
func (s *Sender) record(ctx context.Context, c *claim, d dueDelivery, at time.Time, v verdict) error {
	lease := s.store.now().Add(s.cfg.Lease)
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		w := tx.Later()
		_, err := w.RenewWebhook(ctx, db.RenewWebhookParams{
			NewLease: lease, Failures: int32(v.failures), FailingSince: v.failingSince, LastDeliveryAt: v.deliveredAt,
			TenantID: c.tenantID, ID: c.id, OldLease: c.lease,
		})
		if err != nil {
			return err
		}
		w.Expect(1)
		_, err = w.RecordAttempt(ctx, db.RecordAttemptParams{
			Status: string(v.status), DueAt: v.dueAt, LastAttemptAt: &at, LastStatus: db.NullIfZero(int32(v.answer.status)), LastError: db.NullIfZero(v.answer.class),
			DeliveredAt: v.deliveredAt, TenantID: c.tenantID, WebhookID: c.id, ID: d.id,
		})
		if err != nil {
			return err
		}
		w.Expect(1)
		return w.Send(ctx)
	})
	if err == nil {
		c.lease, c.failures, c.failingSince = lease, v.failures, v.failingSince
	}
	return err
}

// release ends the lease; the webhook is not claimed again before pause is over. Its
// row is locked before the statement that reads the next due time takes its
// snapshot, so that no new delivery is overlooked.
func (s *Sender) release(ctx context.Context, c claim, pause time.Duration) error {
	var restUntil *time.Time
	if pause > 0 {
		at := s.store.now().Add(pause)
		restUntil = &at
	}
	return s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if _, err := tx.LockWebhook(ctx, c.tenantID, c.id); err != nil {
			return err
		}
		_, err := tx.ReleaseWebhook(ctx, db.ReleaseWebhookParams{RestUntil: restUntil, TenantID: c.tenantID, ID: c.id, OldLease: c.lease})
		return err
	})
}

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
	format       Format
	lease        time.Time
	failures     int
	failingSince *time.Time
}

// claim leases webhooks with deliveries due for the free slots of a lane, in turn
// for each tenant. If this process ends, other senders claim them when the lease is
// over.
func (s *Sender) claim(ctx context.Context, l *lane) (claims []claim, err error) {
	use, slow := l.use(), s.slow.ids(time.Now())
	if use.free == 0 || l.slow && len(slow) == 0 {
		return nil, nil
	}
	now := s.store.now()
	lease := now.Add(s.cfg.Lease)
	err = s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.CheckClock(); err != nil {
			return err // its leases would end too early or far too late
		}
		rows, err := tx.ClaimWebhooks(ctx, db.ClaimWebhooksParams{
			LeasedUntil: lease, Now: now, FullTenants: use.fullTenants, SlowIds: slow, SlowLane: l.slow,
			BusyTenants: use.busyTenants, BusyCounts: use.busyCounts, TenantShare: int32(l.share), Batch: int32(use.free),
		})
		claims = nil // the transaction may run twice
		for _, r := range rows {
			claims = append(claims, claim{
				tenantID: r.TenantID, id: r.ID, ofAll: r.OfAll, url: db.ZeroIfNull(r.Url), format: Format(r.Format), lease: lease,
				failures: int(r.Failures), failingSince: db.UTC(r.FailingSince),
			})
		}
		return err
	})
	return claims, err
}

// timeToNextDue returns the time until a webhook can be claimed, at most
// SenderConfig.Look: other processes may create deliveries without a notification.
// A slot that gets free signals s.due.
func (s *Sender) timeToNextDue(ctx context.Context, lanes []*lane) time.Duration {
	wait, slow := s.cfg.Look, s.slow.ids(time.Now())
	for _, l := range lanes {
		use := l.use()
		if use.free == 0 || l.slow && len(slow) == 0 {
			continue
		}
		var readyAt time.Time
		err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			readyAt, err = tx.NextWebhookReady(ctx, use.fullTenants, slow, l.slow)
			return err
		})
		if err == nil { // there may be none
			wait = min(wait, max(readyAt.Sub(s.store.now()), minPollPause))
		}
	}
	return wait
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

// release ends the lease. The webhook is not claimed again before pause is over, and
// then after those that have waited longer. Its
// row is locked before the statement that reads the next due time takes its
// snapshot, so that no new delivery is overlooked.
func (s *Sender) release(ctx context.Context, c claim, pause time.Duration) error {
	readyAt := s.store.now().Add(pause)
	return s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.CheckClock(); err != nil {
			return err
		}
		if _, err := tx.LockWebhook(ctx, c.tenantID, c.id); err != nil {
			return err
		}
		_, err := tx.ReleaseWebhook(ctx, db.ReleaseWebhookParams{ReadyAt: readyAt, TenantID: c.tenantID, ID: c.id, OldLease: c.lease})
		return err
	})
}

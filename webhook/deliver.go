package webhook

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// deliverBatch is how many deliveries of a webhook are posted before others
// have their turn.
const deliverBatch = 20

// claim is a webhook in the hands of this sender, until the lease runs out.
type claim struct {
	tenantID, id uuid.UUID
	ofAll        bool
	url          string
	lease        time.Time
	failures     int
	failingSince *time.Time
}

// due is a delivery that is to be posted now.
type due struct {
	id, eventTenantID uuid.UUID
	eventSeq          int64
	attempts          int // so far
	askedAt           time.Time
}

// deliverNowAndThen takes webhooks with deliveries due as there is room. One
// webhook has one request at a time: a receiver that is slow or away holds up
// nobody but itself.
func (s *Sender) deliverNowAndThen(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, s.cfg.Parallel)
	for ctx.Err() == nil {
		if len(slots) == cap(slots) {
			rest(ctx, s.due, nil, s.cfg.Look)
			continue
		}
		claims, err := s.claim(ctx, cap(slots)-len(slots))
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("deliveries not looked at", "error", err)
			rest(ctx, nil, nil, troubled)
			continue
		}
		for _, c := range claims {
			slots <- struct{}{}
			all.Go(func() {
				s.deliver(ctx, c)
				<-slots
				wake(s.due)
			})
		}
		if len(claims) == 0 {
			rest(ctx, s.due, nil, s.nextDue(ctx))
		}
	}
}

// nextDue is how long it is until a webhook is ready, within bounds: others may
// have made one ready that this process is not told of.
func (s *Sender) nextDue(ctx context.Context) time.Duration {
	var at time.Time
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		at, err = tx.NextWebhookReady(ctx)
		return err
	})
	if err != nil { // also for none
		return s.cfg.Look
	}
	return min(max(at.Sub(s.store.now()), shortly), s.cfg.Look)
}

// claim takes up to n webhooks that have deliveries due. If this process ends,
// others take them when the lease is over.
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

// deliver posts what is due for a webhook and gives it back. What is under way
// when ctx ends is finished.
func (s *Sender) deliver(ctx context.Context, c claim) {
	until := ctx
	ctx = context.WithoutCancel(ctx)
	pause, err := s.deliverAll(ctx, until, &c)
	if errors.Is(err, db.ErrGuard) {
		return // it was disabled or deleted, or somebody else has it by now
	}
	if err != nil {
		s.cfg.Log.Warn("deliveries put off", "webhook_id", c.id, "error", err)
		pause = max(pause, troubled)
	}
	if err := s.release(ctx, c, pause); err != nil {
		s.cfg.Log.Warn("webhook not given back yet", "webhook_id", c.id, "error", err)
	}
}

// deliverAll returns how long the webhook must rest.
func (s *Sender) deliverAll(ctx, until context.Context, c *claim) (pause time.Duration, err error) {
	list, err := s.listDue(ctx, *c)
	for i := 0; i < len(list) && err == nil && pause == 0 && until.Err() == nil; i++ {
		pause, err = s.deliverOne(ctx, c, list[i])
	}
	return pause, err
}

func (s *Sender) listDue(ctx context.Context, c claim) (list []due, err error) {
	now := s.store.now()
	err = s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if c.failingSince != nil && now.Sub(*c.failingSince) > patience {
			if err := tx.ExpireDeliveries(ctx, c.tenantID, c.id, now.Add(-patience)); err != nil {
				return err
			}
		}
		rows, err := tx.DueDeliveries(ctx, db.DueDeliveriesParams{TenantID: c.tenantID, WebhookID: c.id, Now: now, Batch: deliverBatch})
		for _, r := range rows {
			list = append(list, due{r.ID, r.EventTenantID, r.EventSeq, int(r.Attempts), r.AskedAt})
		}
		return err
	})
	return list, err
}

// deliverOne makes one attempt and writes down what became of it. An error is
// not the receiver's, and counts for nothing. A crash before the end leaves the
// delivery as it was: it is posted again.
func (s *Sender) deliverOne(ctx context.Context, c *claim, d due) (pause time.Duration, err error) {
	at := s.store.now()
	body, err := s.body(ctx, *c, d, at)
	if err != nil {
		return 0, err
	}
	signature, err := s.cfg.Sign(ctx, body.text)
	if err != nil {
		return 0, err
	}
	o := s.store.targets.post(ctx, c.url, body, signature)
	v := judge(o, *c, d, s.store.now())
	if err := s.record(ctx, c, d, at, v); err != nil {
		return 0, err
	}
	s.counts[v.outcome].Add(1)
	if v.disable != "" {
		return 0, s.disable(ctx, *c, v.disable)
	}
	return v.rest, nil
}

// record writes down an attempt and renews the lease, if it is still held.
func (s *Sender) record(ctx context.Context, c *claim, d due, at time.Time, v verdict) error {
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
			Status: string(v.status), DueAt: v.dueAt, LastAttemptAt: &at, LastStatus: status(v.answer.status), LastError: db.NullIfZero(v.answer.class),
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

func status(code int) *int32 {
	if code == 0 {
		return nil
	}
	n := int32(code)
	return &n
}

// release gives a webhook back. Its row is locked before the statement that
// looks for what is pending takes its snapshot, so that none is overlooked.
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

package webhook

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// deliverBatch is the number of deliveries of one claim. Then the webhook is
// released, so that other webhooks get a slot.
const deliverBatch = 20

// dueDelivery is a delivery whose time has come.
type dueDelivery struct {
	id, eventTenantID uuid.UUID
	eventSeq          int64
	attempts          int // so far
	askedAt           time.Time
}

// deliverLoop claims webhooks with deliveries due while there are free slots, until
// ctx ends. A webhook has one request at a time, so that a slow receiver delays
// only itself.
func (s *Sender) deliverLoop(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	lanes := newLanes(s.cfg.Parallel)
	for ctx.Err() == nil {
		started, err := s.startClaims(ctx, lanes, &all)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("webhook deliveries not claimed", "error", err)
			waitFor(ctx, nil, nil, pauseAfterError)
			continue
		}
		if started == 0 {
			waitFor(ctx, s.due, nil, s.timeToNextDue(ctx, lanes))
		}
	}
}

// startClaims claims webhooks for the free slots of the lanes, delivers each in a
// goroutine of all, and returns their number.
func (s *Sender) startClaims(ctx context.Context, lanes []*lane, all *sync.WaitGroup) (started int, err error) {
	for _, l := range lanes {
		claims, err := s.claim(ctx, l)
		if err != nil {
			return started, err
		}
		for _, c := range claims {
			l.take(c.tenantID)
			started++
			all.Go(func() {
				s.deliver(ctx, c)
				l.release(c.tenantID)
				wakeUp(s.due)
			})
		}
	}
	return started, nil
}

// deliver posts the due deliveries of a claimed webhook and releases it. A request
// in progress when ctx ends is finished.
func (s *Sender) deliver(ctx context.Context, c claim) {
	until := ctx
	ctx = context.WithoutCancel(ctx)
	pause, err := s.deliverAll(ctx, until, &c)
	if errors.Is(err, db.ErrGuard) {
		return // it was disabled or deleted, or another sender has claimed it
	}
	if err != nil {
		s.cfg.Log.Warn("webhook deliveries postponed", "webhook_id", c.id, "error", err)
		pause = max(pause, pauseAfterError)
	}
	if err := s.release(ctx, c, pause); err != nil {
		s.cfg.Log.Warn("webhook not released, wait for its lease to end", "webhook_id", c.id, "error", err)
	}
}

// deliverAll posts a batch of due deliveries, fewer if they take longer than
// SenderConfig.ClaimTime, and returns the pause before the webhook may be claimed
// again.
func (s *Sender) deliverAll(ctx, until context.Context, c *claim) (pause time.Duration, err error) {
	list, err := s.listDue(ctx, *c)
	began := time.Now()
	for i := 0; i < len(list) && err == nil && pause == 0 && until.Err() == nil; i++ {
		pause, err = s.deliverOne(ctx, c, list[i])
		if time.Since(began) >= s.cfg.ClaimTime {
			break
		}
	}
	return pause, err
}

// listDue returns the next deliveries of a webhook. If it has been failing for
// longer than patience, older deliveries fail first.
func (s *Sender) listDue(ctx context.Context, c claim) (list []dueDelivery, err error) {
	now := s.store.now()
	err = s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if c.failingSince != nil && now.Sub(*c.failingSince) > patience {
			if err := tx.ExpireDeliveries(ctx, c.tenantID, c.id, now.Add(-patience)); err != nil {
				return err
			}
		}
		rows, err := tx.DueDeliveries(ctx, db.DueDeliveriesParams{TenantID: c.tenantID, WebhookID: c.id, Now: now, Batch: deliverBatch})
		list = nil // the transaction may run twice
		for _, r := range rows {
			list = append(list, dueDelivery{r.ID, r.EventTenantID, r.EventSeq, int(r.Attempts), r.AskedAt})
		}
		return err
	})
	return list, err
}

// deliverOne makes one attempt and stores the result. An error is Keyward's, not the
// receiver's, and does not count as an attempt. After a crash before the end the
// delivery is posted again.
func (s *Sender) deliverOne(ctx context.Context, c *claim, d dueDelivery) (pause time.Duration, err error) {
	at := s.store.now()
	r, err := s.renderRequest(ctx, *c, d, at)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	o := s.store.targets.post(ctx, c.url, r)
	if ended := time.Now(); ended.Sub(began) >= s.cfg.SlowAfter {
		s.slow.add(c.id, ended)
	}
	if o.cause != "" {
		s.cfg.Log.Info("webhook receiver gave no response, or a reason", "webhook_id", c.id, "tenant_id", c.tenantID, "class", o.class, "error", o.cause)
	}
	v := judgeAnswer(o, *c, d, s.store.now())
	if err := s.record(ctx, c, d, at, v); err != nil {
		return 0, err
	}
	s.counts[v.outcome].Add(1)
	if v.disable != "" {
		return 0, s.disable(ctx, *c, v.disable)
	}
	return v.pause, nil
}

// disable disables a webhook, fails its pending deliveries and writes the audit
// event. It always returns an error: db.ErrGuard if the webhook is disabled, so that
// the caller does not release the claim.
func (s *Sender) disable(ctx context.Context, c claim, why Reason) error {
	var owner *uuid.UUID
	if !c.ofAll {
		owner = &c.tenantID
	}
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		row, err := tx.LockTenant(ctx, c.tenantID)
		if err != nil {
			return err
		}
		home := tenant.TenantRow(row)
		w, err := getWebhook(ctx, tx, owner, c.tenantID, c.id)
		if errors.Is(err, ErrNotFound) || err == nil && w.Status != Active {
			return db.ErrGuard
		}
		if err != nil {
			return err
		}
		w.Status, w.DisabledReason = Disabled, why
		e := s.cfg.By.Event(home.TimeOfEffect(s.store.now()), audit.WebhookDisabled)
		d := eventDetails(w)
		d["status"] = w.Status
		e.Reason, e.Details = string(why), audit.Details(d)
		return storeWebhook(ctx, tx.Later(), home, w, string(w.Status), e)
	})
	if err == nil {
		s.cfg.Log.Info("webhook disabled", "webhook_id", c.id, "tenant_id", c.tenantID, "reason", why)
		return db.ErrGuard // there is no claim left to release
	}
	return err
}

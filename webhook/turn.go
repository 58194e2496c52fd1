package webhook

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

const (
	turnBatch = 100  // webhooks in one transaction
	turnPage  = 100  // events for each of them
	hintBatch = 1000 // tenants in one query

	minHeldPause    = 20 * time.Millisecond // first pause while events wait for an older transaction
	maxHeldPause    = time.Second
	pauseAfterError = 2 * time.Second
)

// turnLoop turns events into deliveries when signalled, and polls for events every
// SenderConfig.Look, until ctx ends.
func (s *Sender) turnLoop(ctx context.Context) {
	held := time.Duration(0)
	look := time.NewTicker(s.cfg.Look)
	defer look.Stop()
	for ctx.Err() == nil {
		ids, any := s.takeChanged()
		waits, err := s.turn(ctx, ids, any)
		wakeUp(s.due)
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Warn("webhook deliveries not created", "error", err)
			s.Missed()
			waitFor(ctx, nil, nil, pauseAfterError)
			continue
		case waits:
			held = min(max(2*held, minHeldPause), maxHeldPause)
		default:
			held = 0
		}
		if ticked := waitFor(ctx, s.woken, look.C, held); ticked {
			s.Missed()
		}
	}
}

// waitFor waits for a signal, a tick, the end of ctx or, if pause is not 0, its end.
// ticked reports whether it was the tick.
func waitFor(ctx context.Context, woken <-chan struct{}, tick <-chan time.Time, pause time.Duration) (ticked bool) {
	var over <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
	case <-woken:
	case <-over:
	case <-tick:
		return true
	}
	return false
}

// turn turns all new events of these tenants, or of any, for their webhooks and the
// platform's. waits reports that events wait for an older transaction to end, for
// which there is no signal.
func (s *Sender) turn(ctx context.Context, tenantIDs []uuid.UUID, any bool) (waits bool, err error) {
	if any {
		err = s.turnPolled(ctx)
	}
	if err == nil {
		err = s.turnTenants(ctx, tenantIDs)
	}
	for more := true; more && err == nil; {
		more, waits, err = s.turnPlatform(ctx)
	}
	return waits, err
}

// turnPolled turns events without a notification. The first call reads every
// webhook. Later calls read only events since the previous call: an event that was
// not visible then is of a transaction that still ran, or of a later one.
func (s *Sender) turnPolled(ctx context.Context) error {
	var (
		bounds db.FeedBoundsRow
		ids    []uuid.UUID
	)
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if bounds, err = tx.FeedBounds(ctx); err == nil && s.polledXID > 0 {
			ids, err = tx.TenantsToldOf(ctx, s.polledXID)
		}
		return err
	})
	switch {
	case err != nil:
	case s.polledXID == 0:
		err = s.turnBatches(ctx, nil)
	default:
		err = s.turnTenants(ctx, ids)
	}
	if err == nil {
		s.polledXID = bounds.Settled
	}
	return err
}

// turnTenants turns new events for these tenants' webhooks.
func (s *Sender) turnTenants(ctx context.Context, tenantIDs []uuid.UUID) error {
	for len(tenantIDs) > 0 {
		n := min(len(tenantIDs), hintBatch)
		if err := s.turnBatches(ctx, tenantIDs[:n]); err != nil {
			return err
		}
		tenantIDs = tenantIDs[n:]
	}
	return nil
}

// turnBatches turns all new events of some tenants, or of all for nil, batch by
// batch.
func (s *Sender) turnBatches(ctx context.Context, tenantIDs []uuid.UUID) error {
	for more := true; more; {
		err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			more, err = s.turnBatch(ctx, tx, tenantIDs)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// turnBatch turns new events for one batch of webhooks. more reports that there may
// be others.
func (s *Sender) turnBatch(ctx context.Context, tx *db.Tx, tenantIDs []uuid.UUID) (more bool, err error) {
	behind, err := lockBehind(ctx, tx, tenantIDs)
	if err != nil || len(behind) == 0 {
		return false, err
	}
	ask := db.EventsBehindParams{PageSize: turnPage}
	for _, w := range behind {
		ask.TenantIds, ask.WebhookIds, ask.PlaceSeqs = append(ask.TenantIds, w.TenantID), append(ask.WebhookIds, w.ID), append(ask.PlaceSeqs, w.PlaceSeq)
	}
	events, err := tx.EventsBehind(ctx, ask)
	if err != nil {
		return false, err
	}
	of := map[uuid.UUID][]db.EventsBehindRow{}
	for _, e := range events {
		of[e.WebhookID] = append(of[e.WebhookID], e)
	}
	t := newTurnWrite(s.store.now(), false)
	for _, w := range behind {
		more = more || len(of[w.ID]) == turnPage
		if err := t.addEvents(w, of[w.ID]); err != nil {
			return false, err
		}
	}
	return more || len(behind) == turnBatch, t.write(ctx, tx)
}

// lockBehind locks a batch of webhooks that have not processed all events.
func lockBehind(ctx context.Context, tx *db.Tx, tenantIDs []uuid.UUID) (behind []db.LockWebhooksBehindRow, err error) {
	if tenantIDs != nil {
		return tx.LockWebhooksBehind(ctx, tenantIDs, turnBatch)
	}
	rows, err := tx.LockAnyWebhooksBehind(ctx, turnBatch)
	for _, r := range rows {
		behind = append(behind, db.LockWebhooksBehindRow(r))
	}
	return behind, err
}

// turnWrite collects the deliveries of a batch and the new places of its webhooks.
type turnWrite struct {
	deliveries db.InsertWebhookDeliveriesParams
	moves      db.MoveWebhooksParams
}

func newTurnWrite(now time.Time, ofAll bool) *turnWrite {
	return &turnWrite{
		deliveries: db.InsertWebhookDeliveriesParams{OfAll: ofAll, CreatedAt: now},
		moves:      db.MoveWebhooksParams{Now: now},
	}
}

// addEvents adds the deliveries of a webhook and moves its place after the events. A
// webhook ends with its tenant: events after tenant.deleted are not delivered.
func (t *turnWrite) addEvents(w db.LockWebhooksBehindRow, events []db.EventsBehindRow) error {
	hasDelivery, ended, seq := false, false, w.PlaceSeq
	for _, e := range events {
		seq = e.Seq
		if matchesActions(w.Actions, e.Action) {
			hasDelivery = true
			if err := t.add(w.TenantID, w.ID, w.TenantID, e.Seq, e.Action); err != nil {
				return err
			}
		}
		if ended = e.Action == string(audit.TenantDeleted); ended {
			break
		}
	}
	m := &t.moves
	m.TenantIds, m.Ids, m.OldSeqs = append(m.TenantIds, w.TenantID), append(m.Ids, w.ID), append(m.OldSeqs, w.PlaceSeq)
	m.Seqs, m.Told, m.Ended = append(m.Seqs, seq), append(m.Told, hasDelivery), append(m.Ended, ended)
	return nil
}

// add adds a delivery. Ids are in the order of creation (RFC 9562 section 5.7).
func (t *turnWrite) add(tenantID, webhookID, eventTenantID uuid.UUID, seq int64, action string) error {
	id, err := uuid.NewV7()
	d := &t.deliveries
	d.TenantIds, d.WebhookIds, d.Ids = append(d.TenantIds, tenantID), append(d.WebhookIds, webhookID), append(d.Ids, id)
	d.EventTenantIds, d.EventSeqs, d.Actions = append(d.EventTenantIds, eventTenantID), append(d.EventSeqs, seq), append(d.Actions, action)
	return err
}

func (t *turnWrite) write(ctx context.Context, tx *db.Tx) error {
	w := tx.Later()
	if len(t.deliveries.Ids) > 0 {
		if err := w.InsertWebhookDeliveries(ctx, t.deliveries); err != nil {
			return err
		}
	}
	if n := len(t.moves.Ids); n > 0 {
		if _, err := w.MoveWebhooks(ctx, t.moves); err != nil {
			return err
		}
		w.Expect(n)
	}
	return w.Send(ctx)
}

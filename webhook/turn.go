package webhook

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

const (
	turnBatch = 100  // webhooks of one transaction
	turnPage  = 100  // events for each of them
	hintBatch = 1000 // tenants that are asked about at once

	shortly  = 20 * time.Millisecond // for a transaction that began before
	longHeld = time.Second           // and takes its time
	troubled = 2 * time.Second       // without the database
)

// turnNowAndThen turns events into deliveries when told of some, and now and
// then looks for itself.
func (s *Sender) turnNowAndThen(ctx context.Context) {
	held := time.Duration(0)
	look := time.NewTicker(s.cfg.Look)
	defer look.Stop()
	for ctx.Err() == nil {
		ids, any := s.take()
		waits, err := s.turn(ctx, ids, any)
		wake(s.due)
		switch {
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Warn("events not turned into deliveries yet", "error", err)
			s.Missed()
			rest(ctx, nil, nil, troubled)
			continue
		case waits:
			held = min(max(2*held, shortly), longHeld)
		default:
			held = 0
		}
		if ticked := rest(ctx, s.woken, look.C, held); ticked {
			s.Missed()
		}
	}
}

// rest waits for a call, a tick or, if that is not zero, for a pause; ticked
// tells whether it was the tick.
func rest(ctx context.Context, woken <-chan struct{}, tick <-chan time.Time, pause time.Duration) (ticked bool) {
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

// turn turns all that there is: for these tenants' webhooks, or any, and for
// the platform's. waits says that events must wait for a transaction that began
// before, and nobody will tell when it ends.
func (s *Sender) turn(ctx context.Context, tenantIDs []uuid.UUID, any bool) (waits bool, err error) {
	if any {
		err = s.look(ctx)
	}
	if err == nil {
		err = s.turnOf(ctx, tenantIDs)
	}
	for more := true; more && err == nil; {
		more, waits, err = s.turnOfAll(ctx)
	}
	return waits, err
}

// look turns what nobody told of. The first time that is a look at every webhook;
// then it costs what has happened since the last: an event that was not visible
// then belongs to a transaction that ran, or came later.
func (s *Sender) look(ctx context.Context) error {
	var (
		bounds db.FeedBoundsRow
		ids    []uuid.UUID
	)
	err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if bounds, err = tx.FeedBounds(ctx); err == nil && s.looked > 0 {
			ids, err = tx.TenantsToldOf(ctx, s.looked)
		}
		return err
	})
	switch {
	case err != nil:
	case s.looked == 0:
		err = s.exhaust(ctx, nil)
	default:
		err = s.turnOf(ctx, ids)
	}
	if err == nil {
		s.looked = bounds.Settled
	}
	return err
}

// turnOf turns what these tenants' webhooks have not been told of.
func (s *Sender) turnOf(ctx context.Context, tenantIDs []uuid.UUID) error {
	for len(tenantIDs) > 0 {
		n := min(len(tenantIDs), hintBatch)
		if err := s.exhaust(ctx, tenantIDs[:n]); err != nil {
			return err
		}
		tenantIDs = tenantIDs[n:]
	}
	return nil
}

// exhaust turns all there is of some tenants, nil: of all.
func (s *Sender) exhaust(ctx context.Context, tenantIDs []uuid.UUID) error {
	for more := true; more; {
		err := s.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			more, err = s.turnSome(ctx, tx, tenantIDs)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// turnSome turns what a batch of webhooks has not been told of. A crash leaves
// them where they were.
func (s *Sender) turnSome(ctx context.Context, tx *db.Tx, tenantIDs []uuid.UUID) (more bool, err error) {
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
	t := newTurn(s.store.now(), false)
	for _, w := range behind {
		more = more || len(of[w.ID]) == turnPage
		if err := t.tell(w, of[w.ID]); err != nil {
			return false, err
		}
	}
	return more || len(behind) == turnBatch, t.write(ctx, tx)
}

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

// turned is a batch of deliveries that are to be made, and the webhooks that
// move on with them.
type turned struct {
	deliveries db.InsertWebhookDeliveriesParams
	moves      db.MoveWebhooksParams
}

func newTurn(now time.Time, ofAll bool) *turned {
	return &turned{
		deliveries: db.InsertWebhookDeliveriesParams{OfAll: ofAll, CreatedAt: now},
		moves:      db.MoveWebhooksParams{Now: now},
	}
}

// tell moves a webhook behind its events. It ends with its tenant: what happens
// after that event is the forgetting of keys.
func (t *turned) tell(w db.LockWebhooksBehindRow, events []db.EventsBehindRow) error {
	told, ended, seq := false, false, w.PlaceSeq
	for _, e := range events {
		seq = e.Seq
		if wants(w.Actions, e.Action) {
			told = true
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
	m.Seqs, m.Told, m.Ended = append(m.Seqs, seq), append(m.Told, told), append(m.Ended, ended)
	return nil
}

// add makes a delivery. Ids are in the order of making (RFC 9562 section 5.7).
func (t *turned) add(tenantID, webhookID, eventTenantID uuid.UUID, seq int64, action string) error {
	id, err := uuid.NewV7()
	d := &t.deliveries
	d.TenantIds, d.WebhookIds, d.Ids = append(d.TenantIds, tenantID), append(d.WebhookIds, webhookID), append(d.Ids, id)
	d.EventTenantIds, d.EventSeqs, d.Actions = append(d.EventTenantIds, eventTenantID), append(d.EventSeqs, seq), append(d.Actions, action)
	return err
}

func (t *turned) write(ctx context.Context, tx *db.Tx) error {
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

package webhook

import (
	"context"

	"github.com/keyward/keyward/db"
)

// turnPlatform turns a page of all tenants' events for each of the platform's
// webhooks. As in [audit.Feed], events wait until no older transaction runs: an
// event that commits late is delivered late, not skipped.
func (s *Sender) turnPlatform(ctx context.Context) (more, waits bool, err error) {
	err = s.store.db.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.LockWebhooksOfAll(ctx)
		if err != nil {
			return err
		}
		more, waits = false, false // the transaction may run twice
		for _, w := range rows {
			full, held, err := s.turnPlatformPage(ctx, tx, w)
			if err != nil {
				return err
			}
			more, waits = more || full, waits || held
		}
		return nil
	})
	return more, waits, err
}

func (s *Sender) turnPlatformPage(ctx context.Context, tx *db.Tx, w db.LockWebhooksOfAllRow) (full, held bool, err error) {
	events, err := tx.EventsOfAllBehind(ctx, db.EventsOfAllBehindParams{
		PlaceXID: w.PlaceXID, PlaceTenantID: w.PlaceTenantID, PlaceSeq: w.PlaceSeq, PageSize: turnPage,
	})
	if err != nil {
		return false, false, err
	}
	full = len(events) == turnPage
	for i, e := range events {
		if !e.Settled {
			events, full, held = events[:i], false, true
			break
		}
	}
	if len(events) == 0 {
		return full, held, nil
	}
	return full, held, s.writePlatformPage(ctx, tx, w, events)
}

func (s *Sender) writePlatformPage(ctx context.Context, tx *db.Tx, w db.LockWebhooksOfAllRow, events []db.EventsOfAllBehindRow) error {
	now := s.store.now()
	t, last := newTurnWrite(now, true), events[len(events)-1]
	for _, e := range events {
		if !matchesActions(w.Actions, e.Action) {
			continue
		}
		if err := t.add(w.TenantID, w.ID, e.TenantID, e.Seq, e.Action); err != nil {
			return err
		}
	}
	if err := t.write(ctx, tx); err != nil {
		return err
	}
	_, err := tx.MoveWebhookOfAll(ctx, db.MoveWebhookOfAllParams{
		PlaceXID: last.FeedXID, PlaceTenantID: last.TenantID, PlaceSeq: last.Seq, Told: len(t.deliveries.Ids) > 0, Now: now,
		TenantID: w.TenantID, ID: w.ID,
	})
	return err
}

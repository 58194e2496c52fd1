package webhook

import (
	"context"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Filter chooses deliveries of a webhook.
type Filter struct {
	Status DeliveryStatus // empty: all
	Limit  int            // 1 to 500; 0: 50, more: 500
	Cursor string         // what Deliveries returned beside the page before
}

// Deliveries returns a webhook's deliveries, newest first, and the cursor of
// the next page, which is empty on the last. Errors: ErrNotFound, ErrBadCursor,
// ErrUnavailable.
func (s *Store) Deliveries(ctx context.Context, tenantID *uuid.UUID, id uuid.UUID, f Filter) (list []Delivery, next string, err error) {
	_, before, err := parseCursor(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := bounded(f.Limit)
	err = s.in(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		if _, err := get(ctx, tx, tenantID, home, id); err != nil {
			return err
		}
		rows, err := tx.ListDeliveries(ctx, db.ListDeliveriesParams{
			TenantID: home, WebhookID: id, BeforeID: before, Status: string(f.Status), PageSize: int32(limit) + 1,
		})
		for _, r := range rows {
			list = append(list, delivery(r))
		}
		return err
	})
	if len(list) > limit {
		list = list[:limit]
		next = cursorOf(list[limit-1].CreatedAt, list[limit-1].ID)
	}
	return list, next, failed("list deliveries", err)
}

func delivery(r db.ListDeliveriesRow) Delivery {
	return Delivery{
		ID: r.ID, WebhookID: r.WebhookID, Tenant: r.Slug, TenantID: r.EventTenantID, Seq: r.EventSeq, Action: r.Action,
		Status: DeliveryStatus(r.Status), Attempts: int(r.Attempts), NextAttemptAt: db.UTC(r.DueAt), LastAttemptAt: db.UTC(r.LastAttemptAt),
		LastStatus: int(db.ZeroIfNull(r.LastStatus)), LastError: db.ZeroIfNull(r.LastError), DeliveredAt: db.UTC(r.DeliveredAt), CreatedAt: r.CreatedAt.UTC(),
	}
}

// Redeliver has a delivery posted once more, whatever became of it, under the
// same id and for as long as a new one. Errors: ErrNotFound, ErrNoDelivery,
// ErrDisabled, ErrUnavailable.
func (s *Store) Redeliver(ctx context.Context, tenantID *uuid.UUID, id, deliveryID uuid.UUID) (d Delivery, err error) {
	err = s.in(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		w, err := get(ctx, tx, tenantID, home, id)
		if err != nil {
			return err
		}
		if w.Status != Active {
			return ErrDisabled
		}
		d, err = s.redeliver(ctx, tx, home, id, deliveryID)
		return err
	})
	return d, failed("redeliver", err)
}

// redeliver takes the webhook's lock first, as whoever delivers does.
func (s *Store) redeliver(ctx context.Context, tx *db.Tx, home, id, deliveryID uuid.UUID) (Delivery, error) {
	now := s.now()
	n, err := tx.WebhookIsDue(ctx, now, home, id)
	if err := one(n, err, ErrDisabled); err != nil {
		return Delivery{}, err
	}
	n, err = tx.AskForDelivery(ctx, db.AskForDeliveryParams{AskedAt: now, TenantID: home, WebhookID: id, ID: deliveryID})
	if err := one(n, err, ErrNoDelivery); err != nil {
		return Delivery{}, err
	}
	row, err := tx.GetDelivery(ctx, home, id, deliveryID)
	if err != nil {
		return Delivery{}, err
	}
	owner, err := tx.GetTenant(ctx, home)
	if err != nil {
		return Delivery{}, err
	}
	return delivery(db.ListDeliveriesRow(row)), tx.NotifyChanges(ctx, tenant.ChangePayloads(home, owner.Slug))
}

// one is err, or otherwise where no row was changed.
func one(rows int64, err, otherwise error) error {
	if err == nil && rows == 0 {
		return otherwise
	}
	return err
}

// Backlog counts deliveries that are pending, up to 10,000. Errors:
// ErrUnavailable.
func (s *Store) Backlog(ctx context.Context) (n int64, err error) {
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		n, err = tx.CountPendingDeliveries(ctx)
		return err
	})
	return n, failed("backlog", err)
}

package webhook

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Filter selects deliveries of a webhook.
type Filter struct {
	Status DeliveryStatus // empty: all
	Limit  int            // 1 to 500; 0: 50, more: 500
	Cursor string         // the cursor that Deliveries returned with the previous page
}

// Deliveries returns a webhook's deliveries, newest first, and the cursor of the
// next page, "" on the last. Errors: ErrNotFound, ErrBadCursor,
// ErrUnavailable.
func (s *Store) Deliveries(ctx context.Context, tenantID *uuid.UUID, id uuid.UUID, f Filter) (list []Delivery, next string, err error) {
	before, err := tenant.ParsePosition(f.Cursor)
	if err != nil {
		return nil, "", ErrBadCursor
	}
	limit := tenant.PageLimit(f.Limit)
	err = s.inHome(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		if _, err := getWebhook(ctx, tx, tenantID, home, id); err != nil {
			return err
		}
		rows, err := tx.ListDeliveries(ctx, db.ListDeliveriesParams{
			TenantID: home, WebhookID: id, BeforeID: before.ID, Status: string(f.Status), PageSize: int32(limit) + 1,
		})
		for _, r := range rows {
			list = append(list, deliveryFromRow(r))
		}
		return err
	})
	list, next = tenant.Page(list, limit, func(d Delivery) tenant.Position { return tenant.Position{CreatedAt: d.CreatedAt, ID: d.ID} })
	return list, next, wrapError("list deliveries", err)
}

func deliveryFromRow(r db.ListDeliveriesRow) Delivery {
	return Delivery{
		ID: r.ID, WebhookID: r.WebhookID, Tenant: r.Slug, TenantID: r.EventTenantID, Seq: r.EventSeq, Action: r.Action,
		Status: DeliveryStatus(r.Status), Attempts: int(r.Attempts), NextAttemptAt: db.UTC(r.DueAt), LastAttemptAt: db.UTC(r.LastAttemptAt),
		LastStatus: int(db.ZeroIfNull(r.LastStatus)), LastError: db.ZeroIfNull(r.LastError), DeliveredAt: db.UTC(r.DeliveredAt), CreatedAt: r.CreatedAt.UTC(),
	}
}

// Redeliver makes a delivery of any status due again, with the same id and
// the attempts of a new one. Errors: ErrNotFound, ErrNoDelivery,
// ErrDisabled, ErrUnavailable.
func (s *Store) Redeliver(ctx context.Context, tenantID *uuid.UUID, id, deliveryID uuid.UUID) (d Delivery, err error) {
	err = s.inHome(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		w, err := getWebhook(ctx, tx, tenantID, home, id)
		if err != nil {
			return err
		}
		if w.Status != Active {
			return ErrDisabled
		}
		d, err = s.redeliver(ctx, tx, home, id, deliveryID)
		return err
	})
	return d, wrapError("redeliver", err)
}

// redeliver locks the webhook before the delivery, in the order of [Sender.record].
func (s *Store) redeliver(ctx context.Context, tx *db.Tx, home, id, deliveryID uuid.UUID) (Delivery, error) {
	now := s.now()
	tx.Changing()
	n, err := tx.WebhookIsDue(ctx, now, home, id)
	if err := requireRow(n, err, ErrDisabled); err != nil {
		return Delivery{}, err
	}
	n, err = tx.AskForDelivery(ctx, db.AskForDeliveryParams{AskedAt: now, TenantID: home, WebhookID: id, ID: deliveryID})
	if err := requireRow(n, err, ErrNoDelivery); err != nil {
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
	return deliveryFromRow(db.ListDeliveriesRow(row)), tx.NotifyChanges(ctx, tenant.ChangePayloads(home, owner.Slug))
}

// requireRow returns err, or missing if no row was changed.
func requireRow(rows int64, err, missing error) error {
	if err == nil && rows == 0 {
		return missing
	}
	return err
}

// Backlog returns the number of pending deliveries, at most 10,000. Errors:
// ErrUnavailable.
func (s *Store) Backlog(ctx context.Context) (n int64, err error) {
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		n, err = tx.CountPendingDeliveries(ctx)
		return err
	})
	return n, wrapError("backlog", err)
}

const (
	retention   = 30 * 24 * time.Hour // of deliveries
	forgetBatch = 10_000
)

// Purge removes deliveries older than 30 days, deleted webhooks and their
// deliveries. The worker calls it regularly. Errors: ErrUnavailable.
func (s *Store) Purge(ctx context.Context) error {
	before := s.now().Add(-retention)
	for n := int64(forgetBatch); n == forgetBatch; {
		err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			n, err = tx.ForgetDeliveries(ctx, forgetBatch, before)
			return err
		})
		if err != nil {
			return wrapError("forget deliveries", err)
		}
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ForgetWebhooks(ctx, before)
		return err
	})
	return wrapError("forget webhooks", err)
}

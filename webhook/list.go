package webhook

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Get returns a webhook of a tenant, or of the platform for a nil tenantID. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) Get(ctx context.Context, tenantID *uuid.UUID, id uuid.UUID) (w Webhook, err error) {
	err = s.inHome(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) (err error) {
		w, err = getWebhook(ctx, tx, tenantID, home, id)
		return err
	})
	return w, wrapError("get", err)
}

func getWebhook(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID, home, id uuid.UUID) (Webhook, error) {
	row, err := tx.GetWebhook(ctx, home, id, tenantID == nil)
	if errors.Is(err, db.ErrNoRows) {
		return Webhook{}, ErrNotFound
	}
	return webhookFromRow(db.ListWebhooksRow(row)), err
}

func webhookFromRow(r db.ListWebhooksRow) Webhook {
	w := Webhook{
		ID: r.ID, URL: db.ZeroIfNull(r.Url), Actions: r.Actions, Description: r.Description, Format: Format(r.Format), Status: Status(r.Status),
		DisabledReason: Reason(db.ZeroIfNull(r.DisabledReason)), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), LastDeliveryAt: db.UTC(r.LastDeliveryAt),
	}
	if !r.OfAll {
		w.TenantID = &r.TenantID
	}
	return w
}

// List returns the webhooks of a tenant, or of the platform for a nil tenantID,
// newest first, and the cursor of the next page, "" on the last. Errors:
// ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, tenantID *uuid.UUID, limit int, cursor string) (list []Webhook, next string, err error) {
	before, err := tenant.ParsePosition(cursor)
	if err != nil {
		return nil, "", ErrBadCursor
	}
	limit = tenant.PageLimit(limit)
	err = s.inHome(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		rows, err := tx.ListWebhooks(ctx, db.ListWebhooksParams{
			TenantID: home, OfAll: tenantID == nil, BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID, PageSize: int32(limit) + 1,
		})
		for _, r := range rows {
			list = append(list, webhookFromRow(r))
		}
		return err
	})
	list, next = tenant.Page(list, limit, func(w Webhook) tenant.Position { return tenant.Position{CreatedAt: w.CreatedAt, ID: w.ID} })
	return list, next, wrapError("list", err)
}

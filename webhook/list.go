package webhook

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Get returns a webhook of a tenant, or of the platform. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) Get(ctx context.Context, tenantID *uuid.UUID, id uuid.UUID) (w Webhook, err error) {
	err = s.in(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) (err error) {
		w, err = get(ctx, tx, tenantID, home, id)
		return err
	})
	return w, failed("get", err)
}

func get(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID, home, id uuid.UUID) (Webhook, error) {
	row, err := tx.GetWebhook(ctx, home, id, tenantID == nil)
	if errors.Is(err, db.ErrNoRows) {
		return Webhook{}, ErrNotFound
	}
	return webhook(db.ListWebhooksRow(row)), err
}

func webhook(r db.ListWebhooksRow) Webhook {
	w := Webhook{
		ID: r.ID, URL: db.ZeroIfNull(r.Url), Actions: r.Actions, Description: r.Description, Status: Status(r.Status),
		DisabledReason: Reason(db.ZeroIfNull(r.DisabledReason)), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), LastDeliveryAt: db.UTC(r.LastDeliveryAt),
	}
	if !r.OfAll {
		w.TenantID = &r.TenantID
	}
	return w
}

// List returns the webhooks of a tenant, or of the platform, newest first, and
// the cursor of the next page, which is empty on the last. Errors:
// ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, tenantID *uuid.UUID, limit int, cursor string) (list []Webhook, next string, err error) {
	at, id, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	limit = bounded(limit)
	err = s.in(ctx, tenantID, func(tx *db.Tx, home uuid.UUID) error {
		rows, err := tx.ListWebhooks(ctx, db.ListWebhooksParams{
			TenantID: home, OfAll: tenantID == nil, BeforeCreatedAt: at, BeforeID: id, PageSize: int32(limit) + 1,
		})
		for _, r := range rows {
			list = append(list, webhook(r))
		}
		return err
	})
	if len(list) > limit {
		list = list[:limit]
		next = cursorOf(list[limit-1].CreatedAt, list[limit-1].ID)
	}
	return list, next, failed("list", err)
}

// A cursor is base64url (RFC 4648 section 5) of a time in microseconds, 8
// bytes, and an id, 16.
func cursorOf(at time.Time, id uuid.UUID) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, id[:]...))
}

func parseCursor(cursor string) (time.Time, uuid.UUID, error) {
	if cursor == "" {
		return endOfTime, uuid.Max, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != 24 {
		return time.Time{}, uuid.Nil, ErrBadCursor
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if at.Before(time.Unix(0, 0)) || at.After(endOfTime) {
		return time.Time{}, uuid.Nil, ErrBadCursor
	}
	return at, uuid.UUID(b[8:]), nil
}

// endOfTime is later than anything that is stored.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func bounded(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}

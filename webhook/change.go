package webhook

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Create creates a webhook. Its first delivery is its own webhook.created. Errors:
// *tenant.FieldErrors, ErrTooMany, tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Create(ctx context.Context, by audit.By, n New) (Webhook, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Webhook{}, wrapError("create", err)
	}
	w := Webhook{
		ID: id, TenantID: n.TenantID, URL: n.URL, Actions: sortUnique(n.Actions), Description: n.Description,
		Format: cmp.Or(n.Format, Keyward), Status: Active,
	}
	w.fillActions()
	if err := s.validate(w, true); err != nil {
		return Webhook{}, err
	}
	err = s.changeHome(ctx, n.TenantID, func(tx *db.Tx, home tenant.TenantRow) error {
		at := home.TimeOfEffect(s.now())
		w.CreatedAt, w.UpdatedAt = at, at
		return insertWebhook(ctx, tx, by, home, w)
	})
	if err != nil {
		return Webhook{}, wrapError("create", err)
	}
	return w, nil
}

func insertWebhook(ctx context.Context, tx *db.Tx, by audit.By, home tenant.TenantRow, w Webhook) error {
	if err := home.Tenant().CheckApproval(by, tenant.ChangeSettings); err != nil {
		return err
	}
	n, err := tx.CountWebhooks(ctx, home.ID, w.TenantID == nil)
	if err == nil && n >= maxWebhooks {
		err = ErrTooMany
	}
	if err != nil {
		return err
	}
	xid, seq, err := startPlace(ctx, tx, w.TenantID, home)
	if err != nil {
		return err
	}
	q := tx.Later()
	err = q.InsertWebhook(ctx, db.InsertWebhookParams{
		TenantID: home.ID, ID: w.ID, OfAll: w.TenantID == nil, Url: w.URL, Actions: w.Actions, Description: w.Description, Format: string(w.Format),
		CreatedAt: w.CreatedAt, PlaceXID: xid, PlaceSeq: seq,
	})
	if err != nil {
		return err
	}
	e := by.Event(w.CreatedAt, audit.WebhookCreated)
	e.Details = audit.Details(by.Details(eventDetails(w)))
	return sendWithEvent(ctx, q, home, e)
}

// eventDetails returns a webhook as details of an audit event. Of the URL they have
// the host only, because its path may be a secret.
func eventDetails(w Webhook) map[string]any {
	d := map[string]any{"id": w.ID, "actions": w.Actions}
	if w.Format != Keyward {
		d["format"] = w.Format
	}
	if u, err := url.Parse(w.URL); err == nil {
		d["host"] = u.Host
	}
	return d
}

// fillActions names the actions of a webhook for SETs that asks for all.
func (w *Webhook) fillActions() {
	if w.Format == SET && len(w.Actions) == 0 {
		w.Actions = slices.Clone(setActions)
	}
}

func sortUnique(actions []string) []string {
	sorted := slices.Sorted(slices.Values(actions))
	return append([]string{}, slices.Compact(sorted)...)
}

// Update changes a webhook and returns the result. When it is disabled, its pending
// deliveries fail. Events of the time while it is disabled are never delivered.
// Errors: *tenant.FieldErrors, ErrNotFound, tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Update(ctx context.Context, by audit.By, tenantID *uuid.UUID, id uuid.UUID, c Change) (after Webhook, err error) {
	err = s.changeHome(ctx, tenantID, func(tx *db.Tx, home tenant.TenantRow) error {
		before, err := getWebhook(ctx, tx, tenantID, home.ID, id)
		if err != nil {
			return err
		}
		after = c.apply(before)
		if err := s.validate(after, c.URL != nil); err != nil || sameSettings(before, after) {
			return err
		}
		if err := home.Tenant().CheckApproval(by, tenant.ChangeSettings); err != nil {
			return err
		}
		after.UpdatedAt = home.TimeOfEffect(s.now())
		return updateWebhook(ctx, tx, by, home, before, after)
	})
	return after, wrapError("update", err)
}

func (c Change) apply(w Webhook) Webhook {
	if c.URL != nil {
		w.URL = *c.URL
	}
	if c.Actions != nil {
		w.Actions = sortUnique(*c.Actions)
		w.fillActions()
	}
	if c.Description != nil {
		w.Description = *c.Description
	}
	if c.Status != nil && *c.Status != w.Status {
		w.Status, w.DisabledReason = *c.Status, ""
		if w.Status == Disabled {
			w.DisabledReason = Requested
		}
	}
	return w
}

func sameSettings(a, b Webhook) bool {
	return a.URL == b.URL && slices.Equal(a.Actions, b.Actions) && a.Description == b.Description && a.Status == b.Status
}

func updateWebhook(ctx context.Context, tx *db.Tx, by audit.By, home tenant.TenantRow, before, after Webhook) error {
	q := tx.Later()
	if before.Status == Disabled && after.Status == Active {
		xid, seq, err := startPlace(ctx, tx, after.TenantID, home)
		if err != nil {
			return err
		}
		if err := q.RestartWebhook(ctx, db.RestartWebhookParams{PlaceXID: xid, PlaceSeq: seq, TenantID: home.ID, ID: after.ID}); err != nil {
			return err
		}
	}
	action := audit.WebhookUpdated
	if before.Status == Active && after.Status == Disabled {
		action = audit.WebhookDisabled
	}
	e := by.Event(after.UpdatedAt, action)
	d := eventDetails(after)
	d["status"] = after.Status
	e.Reason, e.Details = string(after.DisabledReason), audit.Details(by.Details(d))
	return storeWebhook(ctx, q, home, after, string(after.Status), e)
}

// storeWebhook stores a webhook with the event of the change. If the new status is
// not active, its pending deliveries fail.
func storeWebhook(ctx context.Context, q *db.Writes, home tenant.TenantRow, w Webhook, status string, e audit.Event) error {
	_, err := q.UpdateWebhook(ctx, db.UpdateWebhookParams{
		Url: db.NullIfZero(w.URL), Actions: w.Actions, Description: w.Description, Status: status,
		DisabledReason: db.NullIfZero(string(w.DisabledReason)), UpdatedAt: e.At, TenantID: home.ID, ID: w.ID,
	})
	if err != nil {
		return err
	}
	q.Expect(1)
	if status != string(Active) {
		if err := q.FailPendingDeliveries(ctx, db.NullIfZero("webhook_"+status), home.ID, w.ID); err != nil {
			return err
		}
	}
	return sendWithEvent(ctx, q, home, e)
}

// Delete deletes a webhook and its URL at once, its deliveries later, with Purge.
// Errors: ErrNotFound, tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Delete(ctx context.Context, by audit.By, tenantID *uuid.UUID, id uuid.UUID) error {
	err := s.changeHome(ctx, tenantID, func(tx *db.Tx, home tenant.TenantRow) error {
		w, err := getWebhook(ctx, tx, tenantID, home.ID, id)
		if err != nil {
			return err
		}
		if err := home.Tenant().CheckApproval(by, tenant.ChangeSettings); err != nil {
			return err
		}
		e := by.Event(home.TimeOfEffect(s.now()), audit.WebhookDeleted)
		e.Details = audit.Details(by.Details(eventDetails(w)))
		w.URL, w.DisabledReason = "", ""
		return storeWebhook(ctx, tx.Later(), home, w, "deleted", e)
	})
	return wrapError("delete", err)
}

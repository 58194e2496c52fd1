package webhook

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// disable ends the deliveries of a webhook that nothing gets through to, with
// an event that says so.
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
		w, err := get(ctx, tx, owner, c.tenantID, c.id)
		if errors.Is(err, ErrNotFound) || err == nil && w.Status != Active {
			return db.ErrGuard
		}
		if err != nil {
			return err
		}
		w.Status, w.DisabledReason = Disabled, why
		e := s.cfg.By.Event(s.store.now(), audit.WebhookDisabled)
		d := details(w)
		d["status"] = w.Status
		e.Reason, e.Details = string(why), audit.Details(d)
		return write(ctx, tx.Later(), tenant.TenantRow(row), w, string(w.Status), e)
	})
	if err == nil {
		s.cfg.Log.Info("webhook disabled", "webhook_id", c.id, "tenant_id", c.tenantID, "reason", why)
		return db.ErrGuard // nothing is left to give back
	}
	return err
}

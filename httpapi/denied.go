package httpapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// denials writes denied attempts into the history of the credential's own
// tenant, or of the platform: a few per minute and credential, and never
// while the caller waits.
type denials struct {
	audit     *audit.Store
	snapshots *keys.Snapshots
	now       func() time.Time
	log       *slog.Logger
	limit     *limiter
	slots     chan struct{} // bounds how many are being written
	writing   sync.WaitGroup
}

func newDenials(cfg Config) *denials {
	return &denials{
		audit: cfg.Audit, snapshots: cfg.Snapshots, now: cfg.Now, log: cfg.Log,
		limit: newLimiter(5, 12*time.Second), slots: make(chan struct{}, 4),
	}
}

// note remembers that a credential tried what it may not; ref is the tenant it
// named, if any.
func (d *denials) note(w *call, operation, ref string) {
	if d.limit.take(w.ID.String(), d.now()) > 0 {
		return
	}
	select {
	case d.slots <- struct{}{}:
	default: // more at once than is worth a queue
		return
	}
	e := w.by().Event(d.now().UTC().Truncate(time.Microsecond), audit.AuthorizationDenied)
	details := map[string]any{"operation": operation, "role": w.Role}
	if isRef(ref) {
		details["tenant"] = ref
	}
	e.Details = audit.Details(details)
	d.writing.Go(func() {
		defer func() { <-d.slots }()
		d.write(w.TenantID, e)
	})
}

func (d *denials) write(home *uuid.UUID, e audit.Event) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if home == nil {
		snap, _, err := d.snapshots.Get(ctx, tenant.PlatformSlug)
		if err != nil {
			d.log.Warn("denied attempt not audited", "error", err)
			return
		}
		home = &snap.TenantID
	}
	if err := d.audit.Append(ctx, *home, e); err != nil {
		d.log.Warn("denied attempt not audited", "error", err)
	}
}

package httpapi

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// maxDenials bounds how many denied attempts wait to be written; more at once
// are not worth remembering.
const maxDenials = 256

// denials writes denied attempts to the audit log of the credential's own
// tenant, or of the platform: a few per minute and credential, one after
// another, after the caller was answered.
type denials struct {
	audit     *audit.Store
	snapshots *snapshot.Cache
	now       func() time.Time
	log       *slog.Logger
	limit     *limiter[string]
	writing   sync.WaitGroup

	mu    sync.Mutex
	queue []denied // not empty while drain runs
}

// denied is an attempt and the tenant whose audit log it belongs to; nil means
// the platform. Its event has the time at which it is written.
type denied struct {
	home    *uuid.UUID
	at      time.Time
	event   audit.Event
	details map[string]any
}

// lateDenial is how late an attempt is written from which on its event tells when it
// was made.
const lateDenial = time.Second

func newDenials(cfg *Config) *denials {
	return &denials{
		audit: cfg.Audit, snapshots: cfg.Snapshots, now: cfg.Now, log: cfg.Log, limit: newLimiter[string](Rate{5, 12 * time.Second}),
	}
}

// record queues an authorization.denied event. ref is the tenant that the
// request named, if any.
func (d *denials) record(w *call, operation, ref string) {
	if d.limit.take(w.Actor.ID, age.Read(d.now)) > 0 {
		return
	}
	details := map[string]any{"operation": operation, "role": w.Role}
	if isRef(ref) {
		details["tenant"] = ref
	}
	d.enqueue(denied{w.TenantID, d.now().UTC(), w.auditBy().Event(time.Time{}, audit.AuthorizationDenied), details})
}

// recordSignIn queues an authorization.denied event for a sign-in to the console that was
// refused: a few per minute of all, since it costs nothing to try. The API key, empty for
// the identity provider, was not authenticated, so the actor is who somebody claimed to be.
func (d *denials) recordSignIn(requestID, apiKey string) {
	if d.limit.take("sign-in", age.Read(d.now)) > 0 {
		return
	}
	by := audit.By{Actor: audit.Actor{Type: audit.ActorOIDC, ID: "unknown"}, RequestID: requestID}
	if apiKey != "" {
		by.Actor.Type = audit.ActorAPIKey
		if id, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(apiKey), "kw_"), "_"); ok && uuid.Validate(id) == nil {
			by.Actor.ID = uuid.MustParse(id).String()
		}
	}
	d.enqueue(denied{nil, d.now().UTC(), by.Event(time.Time{}, audit.AuthorizationDenied), map[string]any{"operation": "signIn", "authenticated": false}})
}

func (d *denials) enqueue(n denied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) >= maxDenials {
		return
	}
	d.queue = append(d.queue, n)
	if len(d.queue) == 1 {
		d.writing.Go(d.drain)
	}
}

// drain writes queued events until the queue is empty.
func (d *denials) drain() {
	for n, more := d.first(), true; more; n, more = d.next() {
		if err := d.write(n); err != nil {
			d.log.Warn("denied attempt not written to the audit log", "error", err)
		}
	}
}

func (d *denials) first() denied {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queue[0]
}

func (d *denials) next() (n denied, more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue = d.queue[1:]; len(d.queue) == 0 {
		return n, false
	}
	return d.queue[0], true
}

func (d *denials) write(n denied) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if n.home == nil {
		snap, _, err := d.snapshots.Get(ctx, tenant.PlatformSlug)
		if err != nil {
			return err
		}
		n.home = &snap.TenantID
	}
	if d.now().Sub(n.at) > lateDenial {
		n.details["attempted_at"] = n.at.Format(time.RFC3339Nano)
	}
	n.event.Details = audit.Details(n.details)
	return d.audit.Append(ctx, *n.home, n.event)
}

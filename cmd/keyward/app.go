package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
	"github.com/keyward/keyward/worker"
)

// now is the clock of the whole program.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// app is the program at work: all that serve, worker and dev share.
type app struct {
	cfg config
	log *slog.Logger

	db        *db.DB
	custody   *custody.Custody
	generator *moves.Generator
	store     *moves.Store
	snapshots *snapshot.Cache
	signer    *signing.Signer
	tenants   *tenant.Store
	audit     *audit.Store
	webhooks  *webhook.Store
	sender    *webhook.Sender
	listener  *db.Listener
	worker    *worker.Worker
	transport transport
	works     bool // whether the worker runs here

	refresh  chan struct{} // the master key may have changed; holds one call
	did      counters      // by the worker
	stopping atomic.Bool
	ready    readiness
}

// openApp opens everything and proves it usable: the schema is current, the
// master key is the one this database was made with, the platform exists.
func (p *program) openApp(ctx context.Context, publicURL string) (_ *app, err error) {
	d, err := p.openDB(ctx)
	if err != nil {
		return nil, err
	}
	a := &app{cfg: p.cfg, log: p.log, db: d, refresh: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err := current(ctx, d); err != nil {
		return nil, err
	}
	if a.custody, err = p.openCustody(ctx, d); err != nil {
		return nil, err
	}
	a.assemble(publicURL)
	return a, a.store.EnsurePlatform(ctx, audit.By{Actor: a.actor()})
}

// assemble makes the rest; nothing here can fail or connects.
func (a *app) assemble(publicURL string) {
	a.listener = &db.Listener{URL: a.cfg.listenURL, Changed: a.changed, Connected: a.missed, Log: a.log}
	a.generator = moves.NewGenerator(moves.GeneratorConfig{})
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA} { // RSA once it is asked for
		a.generator.Expect(alg, 0)
	}
	a.snapshots = snapshot.New(snapshot.Config{
		DB: a.db, PublicURL: publicURL, Now: now, Log: a.log, HeardUntil: a.listener.HeardUntil,
		MaxBytes: a.cfg.cacheBytes, MaxStale: a.cfg.maxStale,
	})
	a.store = moves.New(moves.Config{
		DB: a.db, Custody: a.custody, Generator: a.generator, Now: now, Log: a.log, JitterFraction: a.cfg.jitter,
		Asked: a.snapshots.Asked,
	})
	if a.db.HasReplica() {
		a.listener.Beat = a.snapshots.Beat
	}
	a.signer = signing.New(signing.Config{DB: a.db, Snapshots: a.snapshots, Custody: a.custody, Now: now, Log: a.log})
	a.tenants = tenant.New(tenant.Config{DB: a.db, Now: now})
	a.audit = audit.New(audit.Config{DB: a.db, Now: now})
	a.webhooks = webhook.NewStore(webhook.Config{DB: a.db, Allow: a.cfg.webhookAllow, Now: now})
	a.sender = a.newSender()
	a.worker = worker.New(worker.Config{
		DB: a.db, Holder: a.actor().ID, Run: a.pass, Now: now, Log: a.log,
		Every: []worker.Chore{
			{Name: "forget idempotency keys", Interval: time.Hour, Run: a.forgetIdempotencyKeys},
			{Name: "forget webhook deliveries", Interval: time.Hour, Run: a.webhooks.Forget},
		},
	})
}

// process tells this process from all others.
var process = fmt.Sprintf("%s/%s", hostname(), uuid.NewString()[:8])

// actor is the process itself, as the audit history names it.
func (a *app) actor() audit.Actor {
	return audit.Actor{Type: audit.ActorWorker, ID: process, Name: "worker"}
}

// changed is told of every commit that changed a tenant.
func (a *app) changed(id uuid.UUID, slug string) {
	a.snapshots.Changed(id, slug)
	a.signer.Changed(id)
	a.tenants.Changed(id)
	a.audit.Changed(id) // after the others: streams look at what these keep
	if slug == tenant.PlatformSlug {
		a.refreshSoon()
	}
	a.sender.Changed(id)
	a.worker.Wake()
}

// missed is told that commits may have gone unheard.
func (a *app) missed() {
	a.snapshots.Missed()
	a.signer.Missed()
	a.tenants.Forget()
	a.audit.Missed()
	a.refreshSoon()
	a.sender.Missed()
	a.worker.Wake()
}

// refreshSoon has custody look at the master keys again. The listener does not
// wait for it.
func (a *app) refreshSoon() {
	select {
	case a.refresh <- struct{}{}:
	default:
	}
}

// close gives everything back.
func (a *app) close() {
	if a.generator != nil {
		a.generator.Close()
	}
	a.db.Close()
}

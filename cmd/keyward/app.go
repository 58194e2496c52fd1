package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
	"github.com/keyward/keyward/worker"
)

// utcNow returns the current time in UTC with the database's precision.
func utcNow() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// app holds the parts that serve, worker and dev share.
type app struct {
	cfg   config
	log   *slog.Logger
	lines *asyncWriter // of log

	tracing *tracing // nil: off

	db         *db.DB
	custody    *custody.Custody
	generator  *moves.Generator
	store      *moves.Store
	snapshots  *snapshot.Cache
	signer     *signing.Signer
	adoption   *adoption.Counter // nil: KEYWARD_ADOPTION is off
	tenants    *tenant.Store
	audit      *audit.Store
	webhooks   *webhook.Store
	workloads  *signin.Workloads
	sender     *webhook.Sender
	listener   *db.Listener
	worker     *worker.Worker
	publisher  *publish.Publisher // nil: KEYWARD_PUBLISH is not set
	transport  transport
	runsWorker bool // whether the worker runs in this process
	healthOnly bool // whether it serves health checks alone

	publicURL      string               // of the service
	refresh        chan struct{}        // requests a check of the master keys; buffered, one request
	workerCounters counters             // what the worker did
	passes         passReport           // what of it was not logged yet
	census         census               // how many keys there are
	registry       *prometheus.Registry // nil without metrics
	stopping       atomic.Bool
	ready          readiness
	platform       platformView // the console's page of it

	checkpointFailures atomic.Int64 // failed attempts to write one
}

// openApp opens the database and the master key. It returns an error unless the
// schema is current, the master key is the database's, and the platform tenant
// exists or can be created.
func (p *program) openApp(ctx context.Context, publicURL string) (_ *app, err error) {
	d, err := p.openDB(ctx)
	if err != nil {
		return nil, err
	}
	a := &app{cfg: p.cfg, log: p.log, lines: p.lines, tracing: p.tracing, db: d, refresh: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err := requireSchema(ctx, d); err != nil {
		return nil, err
	}
	if a.custody, err = p.openCustody(ctx, d); err != nil {
		return nil, err
	}
	a.buildParts(publicURL)
	if err := a.tenants.CheckNames(ctx); err != nil {
		return nil, publicURLError(err)
	}
	return a, a.store.EnsurePlatform(ctx, audit.By{Actor: a.workerActor()})
}

// buildParts creates the remaining parts. It cannot fail and opens no
// connection.
func (a *app) buildParts(publicURL string) {
	a.publicURL = publicURL
	a.listener = &db.Listener{URL: a.cfg.listenURL, Changed: a.onTenantChange, Connected: a.onMissedChanges, Log: a.log, Clock: a.db}
	a.listener.Self = a.processInfo
	a.generator = moves.NewGenerator(a.cfg.generator)
	a.generator.Expect(jose.ES256, 0) // the default; other kinds after the first request for one, since their tables take memory
	a.snapshots = snapshot.New(snapshot.Config{
		DB: a.db, PublicURL: publicURL, Now: utcNow, Log: a.log, HeardUntil: a.listener.HeardUntil,
		Authority: a.custody.Authority(), MaxBytes: a.cfg.cacheBytes, MaxStale: a.cfg.maxStale,
	})
	names := tenant.NewNamespace(publicURL).WithPlainHTTP(a.cfg.allowHTTP)
	a.store = moves.New(moves.Config{
		DB: a.db, Names: names, Custody: a.custody, Generator: a.generator, Now: utcNow, Log: a.log, JitterFraction: a.cfg.jitter,
		DefaultPolicy: &a.cfg.defaultPolicy, MaxKeys: a.cfg.tenantMaxKeys,
		Requests: a.snapshots.Requests,
	})
	if a.db.HasReplica() {
		a.listener.Beat = a.snapshots.Beat
	}
	a.signer = signing.New(signing.Config{DB: a.db, Snapshots: a.snapshots, Custody: a.custody, Now: utcNow, Log: a.log, ExpiredTokens: a.cfg.expiredTokens})
	if a.cfg.adoption {
		a.adoption = adoption.New(adoption.Config{DB: a.db, Authority: a.custody.Authority(), Now: utcNow})
	}
	guarded, refused := webhook.Guarded(a.cfg.webhookAllow)
	a.tenants = tenant.New(tenant.Config{
		DB: a.db, Now: utcNow, Names: names, Authority: a.custody.Authority(), LookupTXT: tenant.TXTResolver(a.cfg.dnsResolver), MaxAPIKeys: a.cfg.maxAPIKeys, RefusedURL: refused,
	})
	a.workloads = signin.NewWorkloads(signin.WorkloadsConfig{Identities: a.tenants.WorkloadsOf, Used: a.tenants.NoteWorkload, HTTPClient: guarded, Now: utcNow, Log: a.log})
	a.audit = audit.New(audit.Config{DB: a.db, Now: utcNow})
	a.webhooks = webhook.NewStore(webhook.Config{DB: a.db, Allow: a.cfg.webhookAllow, Now: utcNow})
	a.sender = a.newSender()
	a.worker = worker.New(worker.Config{
		DB: a.db, Holder: a.workerActor().ID, Run: a.runPass, Now: utcNow, Log: a.log,
		Every: append([]worker.Chore{
			{Name: "delete expired idempotency keys", Interval: time.Hour, Run: a.tenants.ForgetAnswers},
			{Name: "delete processes that are gone", Interval: time.Hour, Run: a.db.ForgetGoneProcesses},
			{Name: "delete old webhook deliveries", Interval: time.Hour, Run: a.webhooks.Purge},
			{Name: "delete verifiers not seen lately", Interval: time.Hour, Run: a.adoption.Forget},
		}, a.checkpointChores()...),
	})
	a.census.leads = a.worker.Leader
	a.publisher = a.newPublisher()
}

// process identifies this process among all replicas.
var process = fmt.Sprintf("%s/%s", hostName(), uuid.NewString()[:8])

// workerActor returns this process as an actor of audit events.
func (a *app) workerActor() audit.Actor {
	return audit.Actor{Type: audit.ActorWorker, ID: process, Name: "worker"}
}

// caches returns what this process keeps in memory of tenants.
func (a *app) caches() httpapi.Caches {
	return httpapi.Caches{Snapshots: a.snapshots, Signer: a.signer, Tenants: a.tenants, Audit: a.audit}
}

// onTenantChange invalidates all caches for a tenant after a commit that
// changed it.
func (a *app) onTenantChange(id uuid.UUID, slug string) {
	a.caches().Changed(id, slug)
	if slug == tenant.PlatformSlug {
		a.refreshSoon()
	}
	a.sender.Changed(id)
	a.publisher.Changed(id)
	a.worker.Wake()
}

// onMissedChanges invalidates all caches after notifications may have been
// lost.
func (a *app) onMissedChanges() {
	a.caches().Missed()
	a.refreshSoon()
	a.sender.Missed()
	a.publisher.Missed()
	a.worker.Wake()
}

// refreshSoon requests a check of the master keys, without blocking.
func (a *app) refreshSoon() {
	select {
	case a.refresh <- struct{}{}:
	default:
	}
}

// close releases the database connections and the key generator.
func (a *app) close() {
	if a.generator != nil {
		a.generator.Close()
	}
	a.db.Close()
}

// Package keyward runs Keyward inside another Go program: the HTTP API, the JWKS and the
// worker, on a PostgreSQL database. [Open] is all that it takes; docs/embedding.md has an
// example. It has the compatibility promise of the HTTP API, and the other packages that
// it is made of have none.
//
// The program keyward offers more: configuration by environment, TLS, sign-in of people by
// OpenID Connect, metrics, tracing and drains.
package keyward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/publish"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
	"github.com/keyward/keyward/worker"
)

// ErrConfig means that a field of [Config] is missing or invalid.
var ErrConfig = errors.New("keyward: invalid configuration")

// Config configures [Open]. The first three fields are required.
type Config struct {
	// DatabaseURL leads to PostgreSQL, as in postgres://user@host:5432/database. Keyward
	// uses the schema public and roles of its own: give it a database of its own.
	DatabaseURL string
	// MasterKey is the URI of the master key, as in file:/etc/keyward/master.json.
	MasterKey string
	// PublicURL is where verifiers reach the handler, as in https://keys.example.com.
	// Issuers begin with it.
	PublicURL string

	// CreateMasterKey creates the master key if it does not exist. Keep a copy of it:
	// without it the database is worthless.
	CreateMasterKey bool
	// SkipMigrations leaves pending migrations alone. Open then fails if there are any.
	SkipMigrations bool
	// SkipWorker leaves rotations, expiry and webhooks to other processes with the same
	// database.
	SkipWorker bool
	// ListenDatabaseURL leads to PostgreSQL itself if DatabaseURL leads through a
	// transaction pooler; empty: DatabaseURL.
	ListenDatabaseURL string
	// MaxConns bounds the connections to the database; 0: the larger of 4 and the number
	// of CPUs.
	MaxConns int32
	// AllowNetworks are networks beside the public ones that tenants may send requests to, by
	// http too: with webhooks, and for the keys of the issuers of workload identities. Empty:
	// public addresses by https alone.
	AllowNetworks []netip.Prefix
	// Publish is where the worker copies the public documents of all tenants, as
	// KEYWARD_PUBLISH: file:///directory, which exists, or s3://bucket/prefix. Empty: nowhere.
	Publish   string
	publishTo publish.Store // nil: nowhere
	// TrustedProxies may set the client's address in X-Forwarded-For or Forwarded.
	TrustedProxies []netip.Prefix
	// Log is the logger; nil: slog.Default.
	Log *slog.Logger
}

// Service is a running Keyward. It is the handler of all of its paths, which begin with
// /t/, /v1/, /.well-known/, /console, /docs, /openapi.yaml, /healthz and /readyz.
type Service struct {
	httpapi.API

	db        *db.DB
	generator *moves.Generator
	store     *moves.Store
	custody   *custody.Custody
	snapshots *snapshot.Cache
	signer    *signing.Signer
	adoption  *adoption.Counter
	tenants   *tenant.Store
	workloads *signin.Workloads
	audit     *audit.Store
	webhooks  *webhook.Store
	sender    *webhook.Sender
	listener  *db.Listener
	worker    *worker.Worker
	publisher *publish.Publisher // nil: Config.Publish is empty

	log     *slog.Logger
	actor   audit.Actor
	streams chan struct{} // closed at the end: streams end
	refresh chan struct{} // requests a check of the master keys
	ready   readiness
	close   func()
}

// now returns the current time in UTC with the database's precision.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Open migrates the database, opens the master key, and runs the worker and whatever else
// works beside requests, until Close. ctx bounds the start alone. Errors: ErrConfig, or
// why the database or the master key cannot be used.
func Open(ctx context.Context, cfg Config) (_ *Service, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if cfg.CreateMasterKey {
		if _, err := seal.Init(ctx, cfg.MasterKey); err != nil && !errors.Is(err, seal.ErrExists) {
			return nil, fmt.Errorf("keyward: master key: %w", err)
		}
	}
	if !cfg.SkipMigrations {
		if err := db.Migrate(ctx, cfg.ListenDatabaseURL); err != nil {
			return nil, err
		}
	}
	d, err := db.Open(ctx, db.Config{URL: cfg.DatabaseURL, MaxConns: cfg.MaxConns, Pooled: cfg.ListenDatabaseURL != cfg.DatabaseURL})
	if err != nil {
		return nil, err
	}
	s := &Service{db: d, log: cfg.Log, streams: make(chan struct{}), refresh: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if n, err := d.PendingMigrations(ctx); err != nil || n > 0 {
		return nil, errors.Join(fmt.Errorf("keyward: %s pending", plural.Count(n, "migration")), err)
	}
	s.custody = custody.New(custody.Config{DB: d, URI: cfg.MasterKey, Now: now, Log: s.log})
	if err := s.custody.Open(ctx); err != nil {
		return nil, err
	}
	s.build(cfg)
	if err := s.tenants.CheckNames(ctx); err != nil {
		return nil, err
	}
	if err := s.store.EnsurePlatform(ctx, audit.By{Actor: s.actor}); err != nil {
		return nil, err
	}
	if s.API, err = httpapi.New(s.apiConfig(cfg)); err != nil {
		return nil, err
	}
	s.start(ctx, !cfg.SkipWorker)
	return s, nil
}

// complete fills in defaults. Errors: ErrConfig.
func (cfg *Config) complete() error {
	if cfg.DatabaseURL == "" || cfg.MasterKey == "" {
		return fmt.Errorf("%w: DatabaseURL and MasterKey are required", ErrConfig)
	}
	u, err := url.Parse(cfg.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(cfg.PublicURL, "?#") ||
		strings.HasSuffix(cfg.PublicURL, "/") || strings.IndexFunc(cfg.PublicURL, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return fmt.Errorf("%w: PublicURL must be an absolute http or https URL in ASCII without query, fragment and final slash", ErrConfig)
	}
	if cfg.Publish != "" {
		if cfg.publishTo, err = publish.Open(cfg.Publish); err != nil {
			return fmt.Errorf("%w: Publish must be file:///directory that exists, or s3://bucket/prefix", ErrConfig)
		}
	}
	if cfg.ListenDatabaseURL == "" {
		cfg.ListenDatabaseURL = cfg.DatabaseURL
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return nil
}

// build creates the parts. It cannot fail and opens no connection.
func (s *Service) build(cfg Config) {
	id, host := uuid.New(), "localhost"
	if name, err := os.Hostname(); err == nil {
		host = name
	}
	s.actor = audit.Actor{Type: audit.ActorWorker, ID: host + "/" + id.String()[:8], Name: "worker"}
	s.listener = &db.Listener{
		URL: cfg.ListenDatabaseURL, Changed: s.changed, Connected: s.missed, Log: s.log, Clock: s.db,
		Self: func() db.ProcessInfo {
			return db.ProcessInfo{ID: id, Name: s.actor.ID, Kind: "serve", Version: "embedded", Address: cfg.PublicURL, MasterKeys: s.custody.OpenableVersions(context.Background())}
		},
	}
	authority, names := s.custody.Authority(), tenant.NewNamespace(cfg.PublicURL)
	s.generator = moves.NewGenerator(moves.GeneratorConfig{})
	s.generator.Expect(jose.ES256, 0)
	s.snapshots = snapshot.New(snapshot.Config{
		DB: s.db, PublicURL: cfg.PublicURL, Now: now, Log: s.log, HeardUntil: s.listener.HeardUntil, Authority: authority,
	})
	s.store = moves.New(moves.Config{
		DB: s.db, Names: names, Custody: s.custody, Generator: s.generator, Now: now, Log: s.log, JitterFraction: 0.05, Requests: s.snapshots.Requests,
	})
	s.signer = signing.New(signing.Config{DB: s.db, Snapshots: s.snapshots, Custody: s.custody, Now: now, Log: s.log})
	s.adoption = adoption.New(adoption.Config{DB: s.db, Authority: authority, Now: now})
	guarded, refused := webhook.Guarded(cfg.AllowNetworks)
	s.tenants = tenant.New(tenant.Config{DB: s.db, Now: now, Names: names, Authority: authority, LookupTXT: tenant.TXTResolver(""), RefusedURL: refused})
	s.workloads = signin.NewWorkloads(signin.WorkloadsConfig{Identities: s.tenants.WorkloadsOf, Used: s.tenants.NoteWorkload, HTTPClient: guarded, Now: now, Log: s.log})
	s.audit = audit.New(audit.Config{DB: s.db, Now: now})
	s.webhooks = webhook.NewStore(webhook.Config{DB: s.db, Allow: cfg.AllowNetworks, Now: now})
	s.sender = webhook.NewSender(webhook.SenderConfig{
		Store: s.webhooks, Audit: s.audit, By: audit.By{Actor: s.actor}, Render: httpapi.RenderEvent, Log: s.log,
		Signer: httpapi.EventSigner{Snapshots: s.snapshots, Signer: s.signer, PublicURL: cfg.PublicURL},
	})
	s.worker = worker.New(worker.Config{DB: s.db, Holder: s.actor.ID, Run: s.runDue, Now: now, Log: s.log, Every: s.chores()})
	if cfg.publishTo != nil {
		documents := httpapi.Documents{Caches: s.caches(), PublicURL: cfg.PublicURL, Now: now}
		s.publisher = publish.New(publish.Config{
			DB: s.db, Store: cfg.publishTo, Feed: s.snapshots.Fleet, Render: documents.Render, Paths: httpapi.DocumentPaths, Leads: s.worker.Leader, Now: now, Log: s.log,
		})
	}
}

func (s *Service) apiConfig(cfg Config) httpapi.Config {
	return httpapi.Config{
		PublicURL: cfg.PublicURL, Store: s.store, Snapshots: s.snapshots, Signer: s.signer, Tenants: s.tenants, Audit: s.audit,
		Adoption: s.adoption, Workloads: s.workloads, Webhooks: s.webhooks, Processes: s.listener, Ready: s.checkReady, Now: now, Log: s.log, Version: "embedded",
		Streams: httpapi.Streams{Stop: s.streams}, TrustedProxies: cfg.TrustedProxies,
	}
}

// CreateAPIKey creates a credential of the HTTP API, such as the first one. role is one of
// platform_admin and platform_auditor or, with the slug or id of a tenant, tenant_admin,
// tenant_signer, tenant_auditor and tenant_verifier. The key is not stored and cannot be
// read again. Errors: tenant.ErrNotFound, or why the role or the name is refused.
func (s *Service) CreateAPIKey(ctx context.Context, role, tenantRef, name string) (key string, err error) {
	wanted := tenant.NewAPIKey{Role: tenant.Role(role), Name: name}
	if tenantRef != "" {
		id, err := s.tenants.Resolve(ctx, tenantRef)
		if err != nil {
			return "", err
		}
		wanted.TenantID = &id
	}
	by := audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: s.actor.ID, Name: "embedding program"}}
	_, key, err = s.tenants.CreateAPIKey(ctx, by, wanted)
	return key, err
}

// Close ends event streams and the work in the background, stores what is known of the use
// of keys, and closes the connections. Shut the HTTP server down first. It may be called
// more than once.
func (s *Service) Close() { s.close() }

// release closes the connections and the key generator.
func (s *Service) release() {
	if s.generator != nil {
		s.generator.Close()
	}
	s.db.Close()
}

// start runs the background loops. Close waits for them.
func (s *Service) start(ctx context.Context, works bool) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	loops.Go(func() { s.listener.Run(ctx) })
	loops.Go(func() { s.every(ctx, time.Minute, s.refresh, "check master keys", s.custody.Refresh) })
	loops.Go(func() { s.every(ctx, 10*time.Second, nil, "store use of keys and credentials", s.flush) })
	if works {
		loops.Go(func() { _ = s.worker.Run(ctx) }) // always nil
		loops.Go(func() { s.sender.Run(ctx) })
		if s.publisher != nil {
			loops.Go(func() { s.publisher.Run(ctx) })
		}
	}
	s.close = sync.OnceFunc(func() {
		s.ready.stop()
		close(s.streams)
		stop()
		loops.Wait()
		last, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		if err := s.flush(last); err != nil {
			s.log.Warn("last flush failed", "error", err)
		}
		s.release()
	})
}

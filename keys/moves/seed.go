package moves

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// Seed describes tenants with a past, for measuring large databases. They look as if the
// worker had processed them since their creation: [keys.Plan] decided their transitions,
// ledgers recorded them, their audit chains verify, their keys are sealed and can sign.
// Only the writes differ: COPY without the guards, which needs a superuser.
type Seed struct {
	Tenants int
	Keys    int                     // of each tenant, 2 to 16: one active, one standby, the others deprecated
	Events  int                     // in each history, at least 3 for each key
	Alg     jose.SignatureAlgorithm // empty: ES256
	Prefix  string                  // of the slugs; a number follows
}

// Errors of [Seed.Write].
var (
	ErrBadSeed      = errors.New("keys: a seed needs 2 to 16 keys for each tenant and at least 3 events for each key")
	ErrNotSuperuser = db.ErrNotSuperuser
)

// seedBatchSize is how many tenants are copied in one transaction, fewer if they have
// many events: about seedBatchEvents are in memory for each of the two batches at a time.
// A longer history is written in several stretches of seedStretch events.
const (
	seedBatchSize   = 2000
	seedBatchEvents = 40_000
	seedStretch     = 20_000
)

// SeedProgress says how much of a seed was written. The last stretch of events counts
// before its transaction is committed.
type SeedProgress struct{ Tenants, Events int64 }

// seedInterval and seedJitter space the rotations of seeded tenants. The grace
// period covers the whole past, so that no key expires in it.
const (
	seedInterval = 30 * 24 * time.Hour
	seedJitter   = 0.05
	seedQuiet    = time.Hour // no work is due earlier
)

func (s Seed) validate() error {
	if s.Tenants < 1 || s.Keys < 2 || s.Keys > 16 || s.Events < 3*s.Keys {
		return ErrBadSeed
	}
	return nil
}

// Slug returns the slug of the tenant with a number, from 0.
func (s Seed) Slug(i int) string { return fmt.Sprintf("%s-%07d", s.Prefix, i) }

func (s Seed) tenantSpec(i int) tenant.Spec {
	p := tenant.DefaultPolicy(s.Alg)
	p.RotationInterval, p.GracePeriod, p.Default = seedInterval, time.Duration(s.Keys)*seedInterval, true
	return tenant.Spec{
		Slug: s.Slug(i), Name: fmt.Sprintf("Tenant %d", i),
		Caching: tenant.DefaultCaching, Policies: []tenant.Policy{p},
	}
}

// Write writes the tenants and calls progress, possibly from two goroutines, with their
// number so far. Its memory depends on neither number. A crash leaves whole tenants behind: use another prefix for the next attempt. Errors: ErrBadSeed,
// ErrNotSuperuser, tenant.ErrSlugTaken, ErrUnavailable.
func (seed Seed) Write(ctx context.Context, s *Store, by audit.By, progress func(SeedProgress)) error {
	if seed.Alg == "" {
		seed.Alg = jose.ES256
	}
	if err := seed.validate(); err != nil {
		return err
	}
	w, batches := &seeder{store: s, by: by, seed: seed, now: s.currentTime(), report: progress}, make(chan int)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(batches)
		return seed.sendBatches(groupCtx, batches)
	})
	for range 2 { // one builds tenants while PostgreSQL writes those of the other
		group.Go(func() error {
			for from := range batches {
				n := min(seed.batchSize(), seed.Tenants-from)
				if err := w.writeBatch(groupCtx, from, n); err != nil {
					return err
				}
				w.wrote(n, 0)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return tenant.Refused(err)
	}
	return s.cfg.DB.Settle(ctx)
}

// batchSize returns how many tenants a batch has.
func (s Seed) batchSize() int { return max(1, min(seedBatchSize, seedBatchEvents/s.Events)) }

// sendBatches sends the number of the first tenant of each batch.
func (s Seed) sendBatches(ctx context.Context, batches chan<- int) error {
	for from := 0; from < s.Tenants; from += s.batchSize() {
		select {
		case batches <- from:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seeder writes the tenants of a seed.
type seeder struct {
	store *Store
	by    audit.By
	seed  Seed
	now   time.Time

	report          func(SeedProgress)
	reporting       sync.Mutex
	tenants, events int64 // written so far
}

// wrote counts and reports the written rows, one report after the other.
func (w *seeder) wrote(tenants, events int) {
	w.reporting.Lock()
	defer w.reporting.Unlock()
	w.tenants += int64(tenants)
	w.events += int64(events)
	w.report(SeedProgress{w.tenants, w.events})
}

// writeBatch builds n tenants and copies their rows.
func (w *seeder) writeBatch(ctx context.Context, from, n int) error {
	past := make([]*seededTenant, n)
	for i := range past {
		p, err := w.buildTenant(ctx, from+i)
		if err != nil {
			return err
		}
		past[i] = p
	}
	return w.store.cfg.DB.Bulk(ctx, func(b *db.Bulk) error {
		var rows seedRows
		for _, p := range past {
			if err := w.copyRest(ctx, b, p); err != nil {
				return err
			}
			if err := rows.addTenant(p); err != nil {
				return err
			}
		}
		if err := rows.copyTo(ctx, b); err != nil {
			return err
		}
		w.wrote(0, len(rows.events))
		return nil
	})
}

// copyRest writes the events of a long history that buildTenant left out, stretch by
// stretch, and moves the tenant's head.
func (w *seeder) copyRest(ctx context.Context, b *db.Bulk, p *seededTenant) error {
	for p.rest > 0 {
		events := w.denials(p, min(p.rest, seedStretch))
		p.rest -= len(events)
		p.head, events = audit.Chain(p.head, events)
		rows := seedRows{events: events}
		if err := b.Copy(ctx, "audit_events", seedEventColumns, rows.eventRows(b.XID)); err != nil {
			return err
		}
		w.wrote(0, len(events))
	}
	return nil
}

// denials returns the next n events of attempts that were denied, which fill a history up
// and spread over the time since the last rotation.
func (w *seeder) denials(p *seededTenant, n int) []audit.Event {
	events := make([]audit.Event, n)
	details := audit.Details(map[string]any{"method": "GET", "path": "/v1/tenants"})
	for i := range events {
		p.denied++
		at := p.at.Add(time.Duration(float64(w.now.Sub(p.at)) * float64(p.denied) / float64(w.seed.Events+1)))
		events[i] = w.by.Event(at, audit.AuthorizationDenied)
		events[i].Details = details
	}
	return events
}

// seededTenant is a tenant with a past. Each point in time has its own ledger, because
// all rows of a ledger have the same time.
type seededTenant struct {
	*ledger    // of the latest point in time
	dataKey    custody.DataKeyRow
	sealer     custody.Sealer
	allEvents  []audit.Event
	sealedKeys map[string][]byte // private keys by kid
	moveEvents map[string]int64  // seq of each kid's last move
	denied     int               // attempts in its history so far
	rest       int               // events that copyRest adds
}

// createdAt spreads the tenants' creation so that the next rotation of the first one is
// due about an interval from now and that of the last one soon, but not before
// seedQuiet, whatever delay [keys.Jitter] adds.
func (s Seed) createdAt(now time.Time, i int) time.Time {
	rotations := time.Duration(s.Keys - 2)
	latest := seedInterval - time.Duration(float64(seedInterval)*seedJitter)*rotations - seedQuiet
	ago := time.Duration(float64(latest) * (1 - float64(i)/float64(s.Tenants)))
	longest := seedInterval + time.Duration(float64(seedInterval)*seedJitter)
	return now.Add(-rotations*longest - ago).Truncate(time.Microsecond)
}

// buildTenant builds a tenant's past: its creation, and each rotation when it was due.
func (w *seeder) buildTenant(ctx context.Context, i int) (*seededTenant, error) {
	spec := w.seed.tenantSpec(i)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	at := w.seed.createdAt(w.now, i)
	p := &seededTenant{sealedKeys: map[string][]byte{}, moveEvents: map[string]int64{}}
	p.ledger = w.store.newTenantLedger(newIDAt(at), spec, w.by, at)
	p.jitter = seedJitter
	first, err := w.store.makeFirstKeys(ctx, p.tenant.ID, p.policies)
	if err != nil {
		return nil, err
	}
	p.sealer, p.dataKey = first.sealer, first.dataKey
	p.dataKey.CreatedAt = at
	if err := p.addFirstKeys(first); err != nil {
		return nil, err
	}
	for due := p.due[w.seed.Alg]; due.Before(w.now) && len(p.keys) < w.seed.Keys; due = p.due[w.seed.Alg] {
		if err := w.addRotation(ctx, p, due); err != nil {
			return nil, err
		}
	}
	p.closeLedger()
	if fill := w.seed.Events - int(p.head.Seq); fill > 0 {
		inMemory := min(fill, seedStretch)
		head, events := audit.Chain(p.head, w.denials(p, inMemory))
		p.head, p.allEvents, p.rest = head, append(p.allEvents, events...), fill-inMemory
	}
	return p, nil
}

// addRotation applies the steps that were due at a time.
func (w *seeder) addRotation(ctx context.Context, p *seededTenant, at time.Time) error {
	p.openLedger(at)
	policy := p.policies[0]
	c, err := w.store.cfg.Generator.newCandidate(ctx, p.tenant.ID, policy)
	if err != nil {
		return err
	}
	var done Done
	b := &batch{
		candidates: map[policyRef]candidate{{p.tenant.ID, policy.Alg}: c},
		sealers:    map[uuid.UUID]custody.Sealer{p.tenant.ID: p.sealer},
	}
	return b.applyPlan(p.ledger, &done)
}

// closeLedger links the ledger's events to the chain and keeps the data of its rows.
func (p *seededTenant) closeLedger() {
	head, events := audit.Chain(p.head, p.ledger.events)
	p.head, p.allEvents = head, append(p.allEvents, events...)
	for _, b := range p.newKeys {
		p.sealedKeys[b.KID], p.moveEvents[b.KID] = b.sealed, b.stateEvent
	}
	for _, m := range p.moves {
		p.moveEvents[m.KID] = m.stateEvent
	}
}

// openLedger starts the ledger of another point in time.
func (p *seededTenant) openLedger(at time.Time) {
	p.closeLedger()
	p.ledger = &ledger{
		tenant: p.tenant, head: p.head, jitter: p.jitter, believer: p.believer, by: p.by, at: at, policies: p.policies, keys: p.keys,
		due: map[jose.SignatureAlgorithm]time.Time{},
	}
}

// newIDAt returns a UUIDv7 (RFC 9562 section 5.7) for an earlier time.
func newIDAt(at time.Time) (id uuid.UUID) {
	_, _ = rand.Read(id[:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// policyRow returns the row of the tenant's only policy, and its due time.
func (p *seededTenant) policyRow() (tenant.PolicyRow, time.Time) {
	policy := p.policies[0]
	return tenant.PolicyRowOf(p.tenant.ID, policy), p.due[policy.Alg]
}

// seedRows are the rows of many seeded tenants, by table.
type seedRows struct {
	tenants, dataKeys, policies [][]any
	keys                        []seedKey
	events                      []audit.Event
}

type seedKey struct {
	keys.Key
	sealed     []byte
	version    *int32
	stateEvent int64
}

func (r *seedRows) addTenant(p *seededTenant) error {
	set, err := snapshot.RenderSet(p.at, p.keys, p.livePolicies())
	if err != nil {
		return err
	}
	t := tenant.RowOf(p.tenant)
	set = set.Sealed(p.believer, t.ID)
	r.tenants = append(r.tenants, []any{
		t.ID, t.Slug, t.Name, t.JWKSMaxAgeSeconds, t.JWKSStaleWhileRevalidateSeconds, t.JWKSStaleIfErrorSeconds,
		t.ClockSkewSeconds, p.head.Seq, p.head.Hash, p.head.LastAt, t.CreatedAt, t.UpdatedAt, p.believer.TenantMAC(t), set.Body, set.Outline,
	})
	d := p.dataKey
	r.dataKeys = append(r.dataKeys, []any{d.TenantID, d.Version, true, d.Wrapped, d.MasterKeyID, d.CreatedAt})
	w, due := p.policyRow()
	r.policies = append(r.policies, []any{
		w.TenantID, w.Alg, w.IsDefault, w.RSABits, w.RotationIntervalSeconds, w.PublishLeadSeconds, w.GracePeriodSeconds, w.PurgeAfterSeconds,
		w.DefaultTokenTTLSeconds, w.MaxTokenTTLSeconds, w.MaxPublishedKeys, w.MinAdoption, w.MaxAdoptionWaitSeconds, due, w.CreatedAt, w.UpdatedAt, p.believer.PolicyMAC(w),
	})
	for _, k := range p.keys {
		row := seedKey{Key: k, stateEvent: p.moveEvents[k.KID]}
		if k.State == keys.Active || k.State == keys.Standby {
			row.sealed, row.version = p.sealedKeys[k.KID], &d.Version
		}
		r.keys = append(r.keys, row)
	}
	r.events = append(r.events, p.allEvents...)
	return nil
}

// copyTo writes the rows. Keys and events are sorted by time, so that
// a tenant's rows are scattered as in production.
func (r *seedRows) copyTo(ctx context.Context, b *db.Bulk) error {
	slices.SortStableFunc(r.keys, func(a, b seedKey) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.KID, b.KID)) })
	slices.SortStableFunc(r.events, func(a, b audit.Event) int { return a.At.Compare(b.At) })
	for _, t := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"tenants", seedTenantColumns, r.tenantRows(b.XID)},
		{"data_keys", seedDataKeyColumns, r.dataKeys},
		{"policies", seedPolicyColumns, r.policies},
		{"keys", seedKeyColumns, r.keyRows()},
		{"audit_events", seedEventColumns, r.eventRows(b.XID)},
	} {
		if err := b.Copy(ctx, t.table, t.columns, t.rows); err != nil {
			return err
		}
	}
	return nil
}

var (
	seedTenantColumns = []string{
		"id", "slug", "name", "jwks_max_age_seconds", "jwks_stale_while_revalidate_seconds", "jwks_stale_if_error_seconds",
		"clock_skew_seconds", "audit_seq", "audit_hash", "audit_at", "created_at", "updated_at", "mac", "jwks", "jwks_outline", "jwks_xid", "feed_xid",
	}
	seedDataKeyColumns = []string{"tenant_id", "version", "is_current", "wrapped", "master_key_id", "created_at"}
	seedPolicyColumns  = []string{
		"tenant_id", "alg", "is_default", "rsa_bits", "rotation_interval_seconds", "publish_lead_seconds", "grace_period_seconds",
		"purge_after_seconds", "default_token_ttl_seconds", "max_token_ttl_seconds", "max_published_keys", "min_adoption", "max_adoption_wait_seconds", "due_at", "created_at", "updated_at", "mac",
	}
	seedKeyColumns = []string{
		"tenant_id", "kid", "alg", "state", "origin", "public_jwk", "sealed_private", "data_key_version", "created_at", "published_at",
		"activated_at", "activation", "deprecated_at", "token_horizon", "expires_at", "state_event",
	}
	seedEventColumns = []string{
		"tenant_id", "seq", "at", "action", "actor_type", "actor_id", "actor_name", "kid", "from_state", "to_state", "request_id",
		"details", "prev_hash", "hash", "feed_xid",
	}
)

func (r *seedRows) tenantRows(xid uint64) [][]any {
	rows := make([][]any, len(r.tenants))
	for i, t := range r.tenants {
		rows[i] = append(t, xid, xid)
	}
	return rows
}

func (r *seedRows) keyRows() [][]any {
	rows := make([][]any, len(r.keys))
	for i, k := range r.keys {
		rows[i] = []any{
			k.TenantID, k.KID, string(k.Alg), string(k.State), string(k.Origin), k.PublicJWK, k.sealed, k.version, k.CreatedAt, k.PublishedAt,
			k.ActivatedAt, nullIfEmpty(string(k.Activation)), k.DeprecatedAt, k.TokenHorizon, k.ExpiresAt, k.stateEvent,
		}
	}
	return rows
}

func (r *seedRows) eventRows(xid uint64) [][]any {
	rows := make([][]any, len(r.events))
	for i, e := range r.events {
		rows[i] = []any{
			e.TenantID, e.Seq, e.At, string(e.Action), string(e.Actor.Type), e.Actor.ID, e.Actor.Name, nullIfEmpty(e.KID), nullIfEmpty(e.FromState),
			nullIfEmpty(e.ToState), nullIfEmpty(e.RequestID), e.Details, e.PrevHash, e.Hash, xid,
		}
	}
	return rows
}

func nullIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

package moves

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
	"golang.org/x/sync/errgroup"
)

// Seed asks for tenants with a past, for measuring what a database costs that
// has many. They are as if the worker had looked after them from their
// creation: what they hold was decided by [keys.Plan] and noted in ledgers, their
// chains verify, their keys are sealed and sign. Only the way into the database
// is another one, by COPY and past the guards, which need a superuser.
type Seed struct {
	Tenants int
	Keys    int                     // of each tenant, 2 to 16: one signs, one stands by, the others have signed
	Events  int                     // in each history; at least 3 for each key
	Alg     jose.SignatureAlgorithm // empty: ES256
	Prefix  string                  // of the slugs; a number follows
}

// Errors of seeding.
var (
	ErrBadSeed      = errors.New("keys: a seed has 2 to 16 keys for each tenant and at least 3 events for each key")
	ErrNotSuperuser = db.ErrNotSuperuser
)

// seedBatch is how many tenants are copied in one transaction.
const seedBatch = 2000

// seedInterval and seedJitter space the rotations of seeded tenants. All keys
// stay published for all of the past, so that it has no other moves.
const (
	seedInterval = 30 * 24 * time.Hour
	seedJitter   = 0.05
	seedQuiet    = time.Hour // nothing is due before
)

func (s Seed) validate() error {
	if s.Tenants < 1 || s.Keys < 2 || s.Keys > 16 || s.Events < 3*s.Keys {
		return ErrBadSeed
	}
	return nil
}

// Slug is that of the tenant with a number, from 0.
func (s Seed) Slug(i int) string { return fmt.Sprintf("%s-%07d", s.Prefix, i) }

func (s Seed) spec(i int) tenant.Spec {
	p := tenant.DefaultPolicy(s.Alg)
	p.RotationInterval, p.GracePeriod, p.Default = seedInterval, time.Duration(s.Keys)*seedInterval, true
	return tenant.Spec{
		Slug: s.Slug(i), Name: fmt.Sprintf("Tenant %d", i),
		Caching: tenant.DefaultCaching, Policies: []tenant.Policy{p},
	}
}

// Seed writes the tenants and tells progress how many there are. A crash
// leaves whole tenants; their slugs are taken then, which another prefix
// avoids. Errors: ErrBadSeed, ErrNotSuperuser, tenant.ErrSlugTaken,
// ErrUnavailable.
func (s *Store) Seed(ctx context.Context, by audit.By, seed Seed, progress func(done int)) error {
	if seed.Alg == "" {
		seed.Alg = jose.ES256
	}
	if err := seed.validate(); err != nil {
		return err
	}
	now, batches := s.now(), make(chan int)
	group, going := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(batches)
		return seed.eachBatch(going, batches)
	})
	var done atomic.Int64
	for range 2 { // one makes tenants while PostgreSQL writes those of the other
		group.Go(func() error {
			for from := range batches {
				n := min(seedBatch, seed.Tenants-from)
				if err := s.seedBatch(going, by, seed, now, from, n); err != nil {
					return err
				}
				progress(int(done.Add(int64(n))))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return tenant.Refused(err)
	}
	return s.cfg.DB.Settle(ctx)
}

// eachBatch sends where each batch begins.
func (s Seed) eachBatch(ctx context.Context, batches chan<- int) error {
	for from := 0; from < s.Tenants; from += seedBatch {
		select {
		case batches <- from:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Store) seedBatch(ctx context.Context, by audit.By, seed Seed, now time.Time, from, n int) error {
	var rows seedRows
	for i := from; i < from+n; i++ {
		p, err := s.seedPast(ctx, by, seed, now, i)
		if err != nil {
			return err
		}
		if err := rows.add(p); err != nil {
			return err
		}
	}
	return rows.copy(ctx, s.cfg.DB)
}

// past is a tenant that has been looked after for a while. Each moment of it
// is a ledger, because the rows of a ledger share its time.
type past struct {
	*ledger // the last moment's
	dataKey custody.DataKeyRow
	sealer  custody.Sealer
	chain   []audit.Event
	sealed  map[string][]byte // private keys by kid, as they entered
	events  map[string]int64  // seq of the last move by kid
}

// bornAt spreads the tenants' creation so that the next rotation of the first
// one is due about an interval from now and that of the last one soon, but not
// before seedQuiet, whatever delay [keys.Jitter] gives them.
func (s Seed) bornAt(now time.Time, i int) time.Time {
	rotations := time.Duration(s.Keys - 2)
	latest := seedInterval - time.Duration(float64(seedInterval)*seedJitter)*rotations - seedQuiet
	ago := time.Duration(float64(latest) * (1 - float64(i)/float64(s.Tenants)))
	longest := seedInterval + time.Duration(float64(seedInterval)*seedJitter)
	return now.Add(-rotations*longest - ago).Truncate(time.Microsecond)
}

// seedPast lives through a tenant's past: its creation, and a rotation each
// time one was due.
func (s *Store) seedPast(ctx context.Context, by audit.By, seed Seed, now time.Time, i int) (*past, error) {
	spec := seed.spec(i)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	at := seed.bornAt(now, i)
	p := &past{sealed: map[string][]byte{}, events: map[string]int64{}}
	p.ledger = s.newborn(idAt(at), spec, by, at)
	p.jitter = seedJitter
	var err error
	if p.sealer, p.dataKey, err = s.cfg.Custody.NewDataKey(ctx, p.tenant.ID, 1, at); err != nil {
		return nil, err
	}
	p.note(audit.Event{Action: audit.DataKeyCreated}, map[string]any{"version": p.sealer.Version})
	if err := s.found(ctx, p.ledger, p.policies[0], p.sealer); err != nil {
		return nil, err
	}
	for due := p.due[seed.Alg]; due.Before(now) && len(p.keys) < seed.Keys; due = p.due[seed.Alg] {
		if err := s.seedRotation(ctx, p, due); err != nil {
			return nil, err
		}
	}
	for int(p.head.Seq)+len(p.ledger.events) < seed.Events {
		p.note(audit.Event{Action: audit.AuthorizationDenied}, map[string]any{"method": "GET", "path": "/v1/tenants"})
	}
	p.close()
	return p, nil
}

// seedRotation takes the steps that were due at a time.
func (s *Store) seedRotation(ctx context.Context, p *past, at time.Time) error {
	p.open(at)
	policy := p.policies[0]
	c, err := s.candidate(ctx, policy)
	if err != nil {
		return err
	}
	var done Done
	return s.follow(p.ledger, &work{
		candidates: map[policyName]candidate{{p.tenant.ID, policy.Alg}: c},
		sealers:    map[uuid.UUID]custody.Sealer{p.tenant.ID: p.sealer},
	}, &done)
}

// close links the moment's events to the chain and keeps what rows need.
func (p *past) close() {
	head, events := audit.Chain(p.head, p.ledger.events)
	p.head, p.chain = head, append(p.chain, events...)
	for _, b := range p.births {
		p.sealed[b.KID], p.events[b.KID] = b.sealed, b.stateEvent
	}
	for _, m := range p.moves {
		p.events[m.KID] = m.stateEvent
	}
}

// open begins another moment.
func (p *past) open(at time.Time) {
	p.close()
	p.ledger = &ledger{
		tenant: p.tenant, head: p.head, jitter: p.jitter, by: p.by, at: at, policies: p.policies, keys: p.keys,
		due: map[jose.SignatureAlgorithm]time.Time{},
	}
}

// idAt is a UUIDv7 (RFC 9562 section 5.7) of an earlier time.
func idAt(at time.Time) (id uuid.UUID) {
	_, _ = rand.Read(id[:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// policyRow is the row of the tenant's one policy.
func (p *past) policyRow() (tenant.PolicyRow, time.Time) {
	policy := p.policies[0]
	return tenant.PolicyRowOf(p.tenant.ID, policy), p.due[policy.Alg]
}

// seedRows are the rows of many pasts, table by table.
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

func (r *seedRows) add(p *past) error {
	set, err := snapshot.RenderSet(p.at, p.keys, p.live())
	if err != nil {
		return err
	}
	t := tenant.RowOf(p.tenant)
	r.tenants = append(r.tenants, []any{
		t.ID, t.Slug, t.Name, t.JWKSMaxAgeSeconds, t.JWKSStaleWhileRevalidateSeconds, t.JWKSStaleIfErrorSeconds,
		t.ClockSkewSeconds, p.head.Seq, p.head.Hash, t.CreatedAt, t.UpdatedAt, set.Body, set.Outline,
	})
	d := p.dataKey
	r.dataKeys = append(r.dataKeys, []any{d.TenantID, d.Version, true, d.Wrapped, d.MasterKeyID, d.CreatedAt})
	w, due := p.policyRow()
	r.policies = append(r.policies, []any{
		w.TenantID, w.Alg, w.IsDefault, w.RSABits, w.RotationIntervalSeconds, w.PublishLeadSeconds, w.GracePeriodSeconds, w.PurgeAfterSeconds,
		w.DefaultTokenTTLSeconds, w.MaxTokenTTLSeconds, w.MaxPublishedKeys, due, w.CreatedAt, w.UpdatedAt,
	})
	for _, k := range p.keys {
		row := seedKey{Key: k, stateEvent: p.events[k.KID]}
		if k.State == keys.Active || k.State == keys.Standby {
			row.sealed, row.version = p.sealed[k.KID], &d.Version
		}
		r.keys = append(r.keys, row)
	}
	r.events = append(r.events, p.chain...)
	return nil
}

// copy writes the rows in one transaction. Keys and events lie in the order of
// their times, a tenant's rows apart from each other, as they come to lie in
// life.
func (r *seedRows) copy(ctx context.Context, d *db.DB) error {
	slices.SortStableFunc(r.keys, func(a, b seedKey) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.KID, b.KID)) })
	slices.SortStableFunc(r.events, func(a, b audit.Event) int { return a.At.Compare(b.At) })
	return d.Bulk(ctx, func(b *db.Bulk) error {
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
	})
}

var (
	seedTenantColumns = []string{
		"id", "slug", "name", "jwks_max_age_seconds", "jwks_stale_while_revalidate_seconds", "jwks_stale_if_error_seconds",
		"clock_skew_seconds", "audit_seq", "audit_hash", "created_at", "updated_at", "jwks", "jwks_outline", "jwks_xid", "feed_xid",
	}
	seedDataKeyColumns = []string{"tenant_id", "version", "is_current", "wrapped", "master_key_id", "created_at"}
	seedPolicyColumns  = []string{
		"tenant_id", "alg", "is_default", "rsa_bits", "rotation_interval_seconds", "publish_lead_seconds", "grace_period_seconds",
		"purge_after_seconds", "default_token_ttl_seconds", "max_token_ttl_seconds", "max_published_keys", "due_at", "created_at", "updated_at",
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
			k.ActivatedAt, orNull(string(k.Activation)), k.DeprecatedAt, k.TokenHorizon, k.ExpiresAt, k.stateEvent,
		}
	}
	return rows
}

func (r *seedRows) eventRows(xid uint64) [][]any {
	rows := make([][]any, len(r.events))
	for i, e := range r.events {
		rows[i] = []any{
			e.TenantID, e.Seq, e.At, string(e.Action), string(e.Actor.Type), e.Actor.ID, e.Actor.Name, orNull(e.KID), orNull(e.FromState),
			orNull(e.ToState), orNull(e.RequestID), e.Details, e.PrevHash, e.Hash, xid,
		}
	}
	return rows
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

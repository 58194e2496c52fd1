package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// event is an audit event as the database has it.
type event struct {
	tenant    string // id
	seq       int64
	at        time.Time
	committed time.Time // when PostgreSQL committed it; zero if that is not known any more
	action    string
	kid       string
	from, to  string
	request   string
}

// effect is when a change became true for everybody.
func (e event) effect() time.Time {
	if e.committed.IsZero() {
		return e.at
	}
	return e.committed
}

// keyRow is a key as the database has it.
type keyRow struct {
	tenant, kid, alg, state           string
	origin                            string
	published                         time.Time
	activated, deprecated, revoked    *time.Time
	expires, expired, horizon         *time.Time
	lastSigned, lastTokenExpiry       *time.Time
	activeFrom, activeTo, publishedTo time.Time // by the commits; zero: not, or not yet
}

// history is the database at one moment, read past all proxies.
type history struct {
	read      time.Time
	events    []event // by tenant and seq
	byRequest map[string][]event
	keys      map[string]*keyRow // by tenant id and kid
	slugs     map[string]string  // id by slug, of tenants that live
	statuses  map[string]string  // of tenants by id
	names     map[string]string
	skews     map[string]time.Duration
	credits   map[string]bool // API keys by id: not revoked
	lifetimes map[string]int  // default_token_ttl_seconds of "tenant id/alg"
}

// readHistory reads everything in one snapshot.
func readHistory(ctx context.Context, conn *pgx.Conn) (*history, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	h := &history{
		read: time.Now(), byRequest: map[string][]event{}, keys: map[string]*keyRow{}, slugs: map[string]string{}, statuses: map[string]string{},
		names: map[string]string{}, skews: map[string]time.Duration{}, credits: map[string]bool{}, lifetimes: map[string]int{},
	}
	for _, read := range []func(context.Context, pgx.Tx) error{h.readKeys, h.readEvents, h.readTenants, h.readRest} {
		if err := read(ctx, tx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *history) readKeys(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT tenant_id::text, kid, alg, state, origin, published_at, activated_at, deprecated_at, revoked_at,
		expires_at, expired_at, token_horizon, last_signed_at, last_token_expires_at FROM keys`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var k keyRow
		if err := rows.Scan(&k.tenant, &k.kid, &k.alg, &k.state, &k.origin, &k.published, &k.activated, &k.deprecated, &k.revoked,
			&k.expires, &k.expired, &k.horizon, &k.lastSigned, &k.lastTokenExpiry); err != nil {
			return err
		}
		h.keys[k.tenant+"/"+k.kid] = &k
	}
	return rows.Err()
}

func (h *history) readEvents(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT tenant_id::text, seq, at, pg_xact_commit_timestamp(xid::xid), action, COALESCE(kid, ''),
		COALESCE(from_state, ''), COALESCE(to_state, ''), COALESCE(request_id, '') FROM audit_events ORDER BY tenant_id, seq`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var e event
		var committed *time.Time
		if err := rows.Scan(&e.tenant, &e.seq, &e.at, &committed, &e.action, &e.kid, &e.from, &e.to, &e.request); err != nil {
			return err
		}
		if committed != nil {
			e.committed = *committed
		}
		h.events = append(h.events, e)
		if e.request != "" {
			h.byRequest[e.request] = append(h.byRequest[e.request], e)
		}
		h.apply(e)
	}
	return rows.Err()
}

// apply notes the moments at which a key began and ceased to sign and to be
// published.
func (h *history) apply(e event) {
	k := h.keys[e.tenant+"/"+e.kid]
	if e.kid == "" || k == nil {
		return
	}
	if e.to == "active" {
		k.activeFrom = e.effect()
	}
	if e.from == "active" {
		k.activeTo = e.effect()
	}
	if e.to == "revoked" || e.to == "expired" {
		k.publishedTo = e.effect()
	}
}

func (h *history) readTenants(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT id::text, slug, status, name, clock_skew_seconds FROM tenants`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var id, slug, status, name string
		var skew int
		if err := rows.Scan(&id, &slug, &status, &name, &skew); err != nil {
			return err
		}
		h.statuses[id], h.names[id], h.skews[id] = status, name, time.Duration(skew)*time.Second
		if status != "deleted" {
			h.slugs[slug] = id
		}
	}
	return rows.Err()
}

func (h *history) readRest(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT id::text, revoked_at IS NULL FROM api_keys`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var id string
		var live bool
		if err := rows.Scan(&id, &live); err != nil {
			return err
		}
		h.credits[id] = live
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `SELECT tenant_id::text || '/' || alg, default_token_ttl_seconds FROM policies WHERE retired_at IS NULL`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var name string
		var seconds int
		if err := rows.Scan(&name, &seconds); err != nil {
			return err
		}
		h.lifetimes[name] = seconds
	}
	return rows.Err()
}

// key finds a key by its tenant's id and its kid.
func (h *history) key(tenant, kid string) *keyRow { return h.keys[tenant+"/"+kid] }

// has reports whether a request left an event of an action, about a kid if one
// is given.
func (h *history) has(request, action, kid string) bool {
	for _, e := range h.byRequest[request] {
		if e.action == action && (kid == "" || e.kid == kid) {
			return true
		}
	}
	return false
}

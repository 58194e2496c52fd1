package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// invariant is something that the database must satisfy at any moment. The
// query returns a line for each violation.
type invariant struct{ name, query string }

// invariants are those of docs and migrations, asked of the tables once more:
// what the database's own guards let pass by mistake is found here.
var invariants = []invariant{
	{"at most one active and one standby key per policy", `SELECT tenant_id || ' ' || alg || ' ' || state || ' ' || count(*) FROM keys
		WHERE state IN ('active', 'standby') GROUP BY tenant_id, alg, state HAVING count(*) > 1`},
	{"every policy of a live tenant has an active key", `SELECT p.tenant_id || ' ' || p.alg FROM policies p JOIN tenants t ON t.id = p.tenant_id
		WHERE p.retired_at IS NULL AND t.status <> 'deleted' AND NOT EXISTS
		(SELECT 1 FROM keys k WHERE k.tenant_id = p.tenant_id AND k.alg = p.alg AND k.state = 'active')`},
	{"a private key exists exactly while its key is standby or active", `SELECT tenant_id || ' ' || kid || ' ' || state FROM keys
		WHERE (sealed_private IS NOT NULL) <> (state IN ('standby', 'active'))`},
	{"timestamps match the state", `SELECT tenant_id || ' ' || kid || ' ' || state FROM keys WHERE state <> CASE
		WHEN purged_at IS NOT NULL THEN 'purged' WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expired_at IS NOT NULL THEN 'expired'
		WHEN deprecated_at IS NOT NULL THEN 'deprecated' WHEN activated_at IS NOT NULL THEN 'active' ELSE 'standby' END`},
	{"timestamps of a key are in order", `SELECT tenant_id || ' ' || kid FROM keys WHERE published_at < created_at OR activated_at < published_at
		OR deprecated_at < activated_at OR expired_at < deprecated_at OR revoked_at < COALESCE(deprecated_at, activated_at, published_at)
		OR purged_at < COALESCE(expired_at, revoked_at)`},
	{"no public key of a purged key, one of every other", `SELECT tenant_id || ' ' || kid FROM keys WHERE (public_jwk IS NULL) <> (state = 'purged')`},
	{"token_horizon covers last_token_expires_at and skew", `SELECT k.tenant_id || ' ' || k.kid || ' ' || k.state || ' horizon ' || k.token_horizon || ' last token ' || k.last_token_expires_at
		FROM keys k JOIN tenants t ON t.id = k.tenant_id
		WHERE k.deprecated_at IS NOT NULL AND k.last_token_expires_at + make_interval(secs => t.clock_skew_seconds) > k.token_horizon`},
	{"a deprecated key stays until its last token has expired", `SELECT k.tenant_id || ' ' || k.kid || ' ' || k.state || ' expires ' || k.expires_at || ' last token ' || k.last_token_expires_at
		FROM keys k WHERE k.deprecated_at IS NOT NULL AND k.origin = 'generated' AND k.last_token_expires_at > COALESCE(k.expired_at, k.expires_at) AND k.revoked_at IS NULL`},
	{"a scheduled activation came after the lead", `SELECT k.tenant_id || ' ' || k.kid || ' published ' || k.published_at || ' active ' || k.activated_at
		FROM keys k JOIN policies p ON p.tenant_id = k.tenant_id AND p.alg = k.alg
		WHERE k.activation = 'scheduled' AND k.activated_at < k.published_at + make_interval(secs => p.publish_lead_seconds)`},
	{"the head of every chain is its last event", `SELECT t.id || ' head ' || t.audit_seq || ' last ' || COALESCE(e.seq, 0) FROM tenants t
		LEFT JOIN LATERAL (SELECT seq, hash FROM audit_events WHERE tenant_id = t.id ORDER BY seq DESC LIMIT 1) e ON true
		WHERE t.audit_seq IS DISTINCT FROM e.seq OR t.audit_hash IS DISTINCT FROM e.hash`},
	{"every chain is without gap or fork", `SELECT e.tenant_id || ' ' || e.seq FROM (SELECT tenant_id, seq, prev_hash,
		lag(seq) OVER w AS before, lag(hash) OVER w AS hash_before FROM audit_events WINDOW w AS (PARTITION BY tenant_id ORDER BY seq)) e
		WHERE e.seq <> COALESCE(e.before, 0) + 1 OR e.prev_hash IS DISTINCT FROM COALESCE(e.hash_before, decode(repeat('00', 32), 'hex'))`},
	{"every key's state is that of its last event", `SELECT k.tenant_id || ' ' || k.kid || ' ' || k.state || ' ' || COALESCE(e.to_state, 'none') FROM keys k
		LEFT JOIN audit_events e ON e.tenant_id = k.tenant_id AND e.seq = k.state_event
		WHERE e.to_state IS DISTINCT FROM k.state OR e.kid IS DISTINCT FROM k.kid`},
	{"the set stored for readers is that of the keys", `SELECT t.id || ' ' || t.slug FROM tenants t WHERE t.status <> 'deleted' AND t.jwks IS NOT NULL AND t.jwks_xid = t.feed_xid
		AND (SELECT array_agg(j ->> 'kid' ORDER BY j ->> 'kid') FROM json_array_elements(convert_from(t.jwks, 'UTF8')::json -> 'keys') j)
		IS DISTINCT FROM (SELECT array_agg(kid::text ORDER BY kid) FROM keys k WHERE k.tenant_id = t.id AND k.state IN ('standby', 'active', 'deprecated'))`},
	{"no transaction is idle for longer than a minute", `SELECT pid || ' ' || application_name || ' ' || xact_start FROM pg_stat_activity
		WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '60 s'`},
}

// checkAll reads the database past all proxies and holds it, and all that was
// seen so far, against what must be true.
func (c *campaign) checkAll(ctx context.Context) (*history, error) {
	conn, err := c.postgres.connect(ctx, "postgres", "keyward")
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, i := range invariants {
		if err := c.checkInvariant(ctx, conn, i); err != nil {
			return nil, err
		}
	}
	h, err := readHistory(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	c.checkTimes(h)
	c.truth.confirm(h, c.record)
	c.seen.confirm(h, c.record)
	c.checkDeadlocks()
	c.checkedAt = h.read
	return h, nil
}

func (c *campaign) checkInvariant(ctx context.Context, conn *pgx.Conn, i invariant) error {
	rows, err := conn.Query(ctx, i.query)
	if err != nil {
		return fmt.Errorf("invariant %q: %w", i.name, err)
	}
	wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("invariant %q: %w", i.name, err)
	}
	c.record.check(i.name, 1)
	c.record.check(stateSound, 1)
	for _, line := range wrong {
		if c.toldOnce(i.name + subject(line)) {
			c.record.brokeDuring(stateSound, c.checkedAt, time.Now(), "%s: %s", i.name, line)
		}
	}
	return nil
}

// subject is what a violation is about: the first two words, so that the same
// key with another time is not told of again.
func subject(line string) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(2, len(words))], " ")
}

// toldOnce reports whether this is the first time that something is told.
func (c *campaign) toldOnce(what string) bool {
	if c.told[what] {
		return false
	}
	c.told[what] = true
	return true
}

const commitLag = "a change was committed after the time that is written down for it, at most"

// checkTimes compares the time of each event with that of its commit, and with
// that of the event before.
func (c *campaign) checkTimes(h *history) {
	var ahead time.Time // when this tenant got a time from the future: what follows is not before it
	for i, e := range h.events {
		first := i == 0 || h.events[i-1].tenant != e.tenant
		if first {
			ahead = time.Time{}
		}
		off := e.effect().Sub(e.at)
		if ahead.IsZero() && off < -clockTolerance {
			ahead = e.effect()
		}
		cause := e.effect()
		if !ahead.IsZero() {
			cause = ahead
		}
		name := fmt.Sprintf("%s %d", e.tenant, e.seq)
		c.record.check(timeOfEffect, 1)
		c.record.measure(commitLag, cause, off)
		if off > clockTolerance && c.stoppedInCommit(e) {
			c.record.measure(frozenCommit, cause, off)
			continue
		}
		if off.Abs() > clockTolerance && c.toldOnce("effect "+name) {
			c.record.brokeDuring(timeOfEffect, cause, cause, "event %d of tenant %s (%s %s, request %q) is written down for %s and was committed at %s, %.1f s later than that",
				e.seq, e.tenant, e.action, e.kid, e.request, c.record.at(e.at), c.record.at(e.effect()), off.Seconds())
		}
		if first {
			continue
		}
		c.record.check(timeInOrder, 1)
		if before := h.events[i-1]; e.at.Before(before.at) && c.toldOnce("order "+name) {
			c.record.brokeDuring(timeInOrder, cause, cause, "event %d of tenant %s (%s, request %q) is %.3f s earlier than event %d (%s, request %q)",
				e.seq, e.tenant, e.action, e.request, before.at.Sub(e.at).Seconds(), before.seq, before.action, before.request)
		}
	}
}

const frozenCommit = "PostgreSQL was frozen between its last check of a change's time and the commit, which is late by up to"

// stoppedInCommit reports whether PostgreSQL may have been frozen after it had checked the
// time of an event, at the end of the transaction, and before the record of its commit. No
// check of its own can find that: the time was right when it was frozen, and it committed
// with the first step afterwards.
func (c *campaign) stoppedInCommit(e event) bool {
	const step = time.Second
	for _, f := range c.frozen {
		if before := f.from.Sub(e.at); before >= 0 && before <= clockTolerance && e.effect().Sub(f.to).Abs() <= step {
			return true
		}
	}
	return false
}

func (c *campaign) checkDeadlocks() {
	c.record.check(noDeadlock, 1)
	for _, text := range c.postgres.deadlocks() {
		if c.toldOnce("deadlock " + text) {
			c.record.brokeDuring(noDeadlock, c.checkedAt, time.Now(), "%s", text)
		}
	}
}

// verifyHistories lets Keyward itself verify the chain of every tenant.
func (c *campaign) verifyHistories(ctx context.Context, h *history) {
	for id := range h.statuses {
		if h.statuses[id] == "deleted" {
			continue
		}
		a := c.ask(ctx, 0, request{kind: "verify history", method: "GET", path: "/v1/tenants/" + id + "/audit/verify", bound: giveUp, promise: boundedChange})
		var said struct{ Intact bool }
		c.record.check(historySound, 1)
		if err := json.Unmarshal(a.body, &said); !a.ok() || err != nil || !said.Intact {
			c.record.broke(historySound, "tenant %s: %s", id, a.said())
		}
	}
}

// lateness measures by how much scheduled work is overdue once a fault has ended
// and all replicas serve again.
func (c *campaign) lateness(ctx context.Context) {
	conn, err := c.postgres.connect(ctx, "postgres", "keyward")
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var seconds float64
	if conn.QueryRow(ctx, `SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float8 FROM policies WHERE due_at IS NOT NULL`).Scan(&seconds) == nil {
		c.record.measure("scheduled work was overdue once a fault was over, at most", time.Now(), time.Duration(max(seconds, 0)*float64(time.Second)))
	}
}

// checkLogs reads the logs of the processes and of PostgreSQL.
func (c *campaign) checkLogs() {
	c.record.note("PostgreSQL's log: %s.", strings.Join(mostCommon(c.postgres.errors(), 12), ", "))
	for _, p := range c.processes {
		s := p.readLog()
		c.record.check(noSecretLogged, 1)
		for _, line := range s.secrets {
			c.record.broke(noSecretLogged, "%s", line)
		}
		for _, line := range s.alarms {
			c.record.broke(staysAlive, "%s: %s", p.name, line)
		}
		c.record.note("%s wrote %d lines in %d lives; most often: %s.", p.name, s.lines, p.lives, strings.Join(mostCommon(s.common, 4), ", "))
	}
}

package audit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

const (
	long  = 60_000 // events of the long history
	rare  = 12     // of them that a filter looks for, in its middle
	short = 300    // tenants with a short history each, so that most events of the table are early ones
)

// longHistory gives a tenant a history that is dear to read along: rotations by
// the schedule, with a few other events far from both ends. What is rare in it
// is common among the many events of others, so that no statistics tell.
func longHistory(t *testing.T, w world) uuid.UUID {
	t.Helper()
	id := w.tenant(t, "long")
	for n := range 40 {
		w.tenant(t, fmt.Sprint("other-", n))
	}
	event := func(n string) string {
		return `INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, to_state, details, prev_hash, hash)
			SELECT t.id, i, timestamptz '` + noon.Format(time.RFC3339) + `' + i * interval '1 minute', e.action, 'api_key', e.actor_id, e.actor, e.kid, e.to_state,
				'{}', sha256('0'), sha256('1')
			FROM tenants t, generate_series(2, ` + n + `) i, LATERAL `
	}
	w.tamper(t, event("1000")+`(SELECT 'key.revoked' AS action, 'revoked' AS to_state, (ARRAY['alice', 'worker'])[1 + i % 2] AS actor,
			(ARRAY['alice-id', 'host/rare'])[1 + i % 2] AS actor_id, 'k' || i / 4 AS kid) e WHERE t.slug <> 'long'`)
	w.tamper(t, event(fmt.Sprint(long))+fmt.Sprintf(`(SELECT i BETWEEN %[1]d / 2 AND %[1]d / 2 + %[2]d - 1 AS rare) r,
		LATERAL (SELECT CASE WHEN rare THEN 'key.revoked' ELSE (ARRAY['key.created', 'key.activated', 'key.deprecated', 'key.expired'])[1 + i %% 4] END AS action,
			CASE WHEN rare THEN 'revoked' ELSE (ARRAY['standby', 'active', 'deprecated', 'expired'])[1 + i %% 4] END AS to_state,
			CASE WHEN rare THEN 'alice' WHEN i %% 10 = 0 THEN 'deploy' ELSE 'worker' END AS actor,
			CASE WHEN rare THEN 'alice-id' WHEN i %% 10 = 0 THEN 'deploy-id' WHEN i BETWEEN %[1]d / 3 AND %[1]d / 3 + %[2]d THEN 'host/rare' ELSE 'host/usual' END AS actor_id,
			CASE WHEN rare THEN 'rare' ELSE 'k' || i / 4 END AS kid) e WHERE t.slug = 'long'`, long, rare))
	w.tamper(t, fmt.Sprintf(`INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash)
		SELECT (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000')::uuid, i, timestamptz '%s' + i * interval '1 minute', 'authorization.denied', 'api_key', 'id', 'name',
			'{}', sha256('0'), sha256('1')
		FROM generate_series(1, %d) n, generate_series(1, 255) i`, noon.Format(time.RFC3339), short))
	w.tamper(t, fmt.Sprintf("UPDATE tenants SET audit_seq = %d WHERE slug = 'long'", long))
	dbtest.Exec(t, w.url, "VACUUM ANALYZE audit_events")
	return id
}

// What a page costs depends on how much is in it and not on how long the
// history is, whatever is filtered for, in either order, from either end and
// from the middle.
func TestFiltersReadAlongNoHistory(t *testing.T) {
	w := newWorld(t)
	id := longHistory(t, w)
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for name, f := range map[string]audit.Filter{
		"everything":       {},
		"an action":        {Action: "key.revoked"},
		"a state":          {State: "revoked"},
		"a kid":            {KID: "rare"},
		"an actor's name":  {Actor: "alice"},
		"an actor's id":    {Actor: "alice-id"},
		"a process":        {Actor: "host/rare"},
		"nobody":           {Actor: "nobody"},
		"no such action":   {Action: "tenant.updated"},
		"no such state":    {State: "purged"},
		"a tenant's state": {State: "suspended"},
		"no such kid":      {KID: "none"},
		"a time":           {Since: minute(long / 2), Until: minute(long/2 + rare)},
		"early":            {Until: minute(2 + rare)},
		"late":             {Since: minute(long - rare)},
		"before it began":  {Until: noon.Add(-time.Minute)},
		"after all":        {Since: minute(2 * long)},
		"actor and action": {Actor: "alice", Action: "key.revoked"},
		"actor and kid":    {Actor: "worker", KID: "rare"},
		"actor and state":  {Actor: "worker", State: "revoked"},
		"actor and time":   {Actor: "alice", Since: minute(long / 2)},
		"common action":    {Action: "key.activated"},
		"common state":     {State: "standby"},
		"common actor":     {Actor: "deploy"},
		"the schedule":     {Actor: "worker"},
		"common, late":     {Action: "key.activated", Since: minute(long - 1000)},
	} {
		for _, ascending := range []bool{true, false} {
			f.TenantID, f.Ascending = id, ascending
			for _, from := range []int64{0, long / 4, 3 * long / 4} {
				if f.Cursor = ""; from > 0 {
					f.Cursor = audit.CursorBehind(f, audit.Event{TenantID: id, Seq: from, At: minute(int(from))})
				}
				cost := dbtest.Explain(t, conn, "keyward_app", id.String(), func(q *db.Queries) error {
					_, err := audit.ReadPage(t.Context(), q, f)
					return err
				})
				// The first 256 events are read whole, beside what a page needs, and times are turned into seqs.
				if cost.Pages > 700 || cost.Vain > 1500 {
					t.Errorf("%s, ascending %v from %d, reads %v pages and %v rows in vain:\n%s", name, ascending, from, cost.Pages, cost.Vain, cost.Plans)
				}
			}
		}
	}
}

// The same of the statements that look for an event of a kind: they name the event at
// which the indexes begin, so that each side is found.
func TestNoStatementReadsAlongAHistory(t *testing.T) {
	w := newWorld(t)
	id := longHistory(t, w)
	w.tamper(t, fmt.Sprintf(`
		INSERT INTO policies (tenant_id, alg, is_default, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds, purge_after_seconds,
				default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, created_at, updated_at)
			VALUES ('%[1]s', 'ES256', true, 2592000, 86400, 86400, 86400, 3600, 3600, 8, now(), now());
		INSERT INTO keys (tenant_id, kid, alg, state, origin, public_jwk, sealed_private, data_key_version, created_at, published_at, activated_at, activation, state_event)
			VALUES ('%[1]s', 'signs', 'ES256', 'active', 'generated', '{}', 'x', 1, now(), now(), now(), 'first', 3);
		ANALYZE keys; ANALYZE policies`, id))
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for name, c := range map[string]struct {
		role string
		read func(*db.Queries) error
	}{
		"GetSealedKey":  {"keyward_app", func(q *db.Queries) error { _, err := q.GetSealedKey(t.Context(), id, "signs"); return err }},
		"ListStrayKeys": {"keyward_platform", func(q *db.Queries) error { _, err := q.ListStrayKeys(t.Context(), id); return err }},
		"DeletionEvent": {"keyward_platform", func(q *db.Queries) error {
			if _, err := q.DeletionEvent(t.Context(), id); !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("a live tenant has a deletion event: %w", err)
			}
			return nil
		}},
		"SettingsChangedAt": {"keyward_platform", func(q *db.Queries) error { _, err := q.SettingsChangedAt(t.Context(), id); return err }},
		"RestoredPolicies":  {"keyward_platform", func(q *db.Queries) error { _, err := q.RestoredPolicies(t.Context(), id); return err }},
		"RestoredDomains":   {"keyward_platform", func(q *db.Queries) error { _, err := q.RestoredDomains(t.Context(), id); return err }},
		"RevivedAPIKeys":    {"keyward_platform", func(q *db.Queries) error { _, err := q.RevivedAPIKeys(t.Context(), id); return err }},
	} {
		cost := dbtest.Explain(t, conn, c.role, id.String(), c.read)
		if cost.Pages > 500 || cost.Vain > 1500 {
			t.Errorf("%s reads %v pages and %v rows in vain:\n%s", name, cost.Pages, cost.Vain, cost.Plans)
		}
	}
}

package tenant_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// crowd is how many tenants there are, one a minute since noon. The newest
// tenth is deleted; a few, in the middle, are suspended; a few, the oldest, have
// what nobody else has in their slugs and names.
const crowd = 20_000

func crowded(t *testing.T, w world) {
	t.Helper()
	dbtest.Exec(t, w.url, fmt.Sprintf(`SET session_replication_role = replica;
		INSERT INTO tenants (id, slug, name, search_text, status, deleted_at, audit_seq, audit_hash, created_at, updated_at)
		SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, CASE WHEN i <= 6 THEN 'needle-' || i ELSE 'crowd-' || i END, CASE WHEN i <= 6 THEN 'Straße ' || i ELSE 'Customer no. ' || i END, CASE WHEN i <= 6 THEN 'needle-' || i || ' strasse ' || i END,
			s.status, CASE WHEN s.status = 'deleted' THEN now() END, 1, sha256('0'), timestamptz '%s' + i * interval '1 minute', now()
		FROM generate_series(1, %[2]d) i, LATERAL (SELECT CASE WHEN i > 0.9 * %[2]d THEN 'deleted' WHEN i BETWEEN %[2]d / 2 AND %[2]d / 2 + 5 THEN 'suspended' ELSE 'active' END AS status) s`,
		noon.Format(time.RFC3339), crowd))
	dbtest.Exec(t, w.url, "VACUUM ANALYZE tenants")
}

// A page of tenants costs by what is on it and by how many have what is
// searched for, not by how many tenants there are.
func TestListsAndSearchesReadFewTenants(t *testing.T) {
	w := newWorld(t)
	crowded(t, w)
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	middle := tenant.CursorAt(noon.Add(crowd / 2 * time.Minute))
	for _, c := range []struct {
		name string
		f    tenant.ListFilter
		want int
	}{
		{"live", tenant.ListFilter{}, 50},
		{"live, from the middle", tenant.ListFilter{Cursor: middle}, 50},
		{"active", tenant.ListFilter{Status: tenant.Active}, 50},
		{"suspended", tenant.ListFilter{Status: tenant.Suspended}, 6},
		{"deleted", tenant.ListFilter{Status: tenant.Deleted}, 50},
		{"deleted, from the middle", tenant.ListFilter{Status: tenant.Deleted, Cursor: middle}, 0},
		{"of no status", tenant.ListFilter{Status: "x"}, 0},
		{"what all have", tenant.ListFilter{Q: "crowd-"}, 50},
		{"a letter all have", tenant.ListFilter{Q: "O"}, 50},
		{"what few have", tenant.ListFilter{Q: "eedl"}, 6},
		{"pieces few names have", tenant.ListFilter{Q: "STRASEN"}, 0},
		{"few names have", tenant.ListFilter{Q: "STRASS"}, 6},
		{"in another case", tenant.ListFilter{Q: "STRAße"}, 6},
		{"two letters few have", tenant.ListFilter{Q: "ee"}, 6},
		{"a letter few have", tenant.ListFilter{Q: "ß"}, 6},
		{"a letter nobody has", tenant.ListFilter{Q: "Q"}, 0},
		{"what nobody has", tenant.ListFilter{Q: "no such tenant"}, 0},
		{"pieces all have", tenant.ListFilter{Q: "crowd-crowd-"}, 0},
		{"one", tenant.ListFilter{Q: "crowd-10001"}, 1},
		{"of a name", tenant.ListFilter{Q: "no. 1400"}, 11},
		{"few, from the middle", tenant.ListFilter{Q: "needle", Cursor: middle}, 6},
		{"suspended of many", tenant.ListFilter{Q: "crowd", Status: tenant.Suspended}, 6},
		{"suspended of few", tenant.ListFilter{Q: "needle", Status: tenant.Suspended}, 0},
		{"deleted one", tenant.ListFilter{Q: "crowd-19999", Status: tenant.Deleted}, 1},
		{"deleted is not live", tenant.ListFilter{Q: "crowd-19999"}, 0},
	} {
		var got []uuid.UUID
		cost := dbtest.Explain(t, conn, "keyward_platform", "", func(q *db.Queries) (err error) {
			got, err = tenant.ReadList(t.Context(), q, c.f)
			return err
		})
		if len(got) != c.want {
			t.Errorf("%s: %d tenants, want %d", c.name, len(got), c.want)
		}
		if cost.Pages > 500 || cost.Vain > 2500 { // the newest thousand, and a sample of 1,200
			t.Errorf("%s reads %v pages and %v tenants in vain:\n%s", c.name, cost.Pages, cost.Vain, cost.Plans)
		}
	}
}

// A search for what many tenants have, but none of the newest, and one for two things that
// many have and few have both, read a bounded number of tenants and say that there may be more.
// Their pages go through all tenants that match, each once.
func TestSearchesOfManyOldTenantsReadFew(t *testing.T) {
	w := newWorld(t)
	crowded(t, w)
	const walk = 1500
	tenant.WalkAtMost(t, walk)
	dbtest.Exec(t, w.url, fmt.Sprintf(`SET session_replication_role = replica;
		UPDATE tenants SET search_text = lower(slug || ' ' || name) || CASE WHEN created_at <= timestamptz '%s' + %d * interval '1 minute' THEN ' veteran' ELSE '' END;
		UPDATE tenants SET jwks_outline = 'v1 1' || repeat(chr(10) || 'key ES256 active 200 kid', 13) WHERE search_text NOT LIKE '%%veteran';
		INSERT INTO policies (tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds, purge_after_seconds,
			default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, created_at, updated_at)
		SELECT id, p.alg, p.alg = 'ES256', p.bits, 2592000, 86400, 604800, 7776000, 900, 86400, 16, created_at, created_at
		FROM tenants, (VALUES ('ES256', NULL), ('RS256', 2048)) AS p (alg, bits) WHERE status <> 'deleted' AND (p.bits IS NULL OR search_text NOT LIKE '%%veteran')`,
		noon.Format(time.RFC3339), crowd/2))
	dbtest.Exec(t, w.url, "VACUUM ANALYZE tenants")
	dbtest.Exec(t, w.url, "VACUUM ANALYZE policies")
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, c := range []struct {
		name string
		f    tenant.ListFilter
		want int
	}{
		{"many, none of the newest", tenant.ListFilter{Q: "veteran"}, crowd / 2},
		{"two letters of theirs", tenant.ListFilter{Q: "ve", Status: tenant.Active}, crowd/2 - 1}, // the suspended one left
		{"and what they all sign with", tenant.ListFilter{Q: "veteran", Alg: "ES256"}, crowd / 2},
		{"and what none of them signs with", tenant.ListFilter{Q: "veteran", Alg: "RS256"}, 0},
		{"and an old algorithm", tenant.ListFilter{Q: "veteran", Problem: tenant.OldAlgorithm}, 0},
		{"and a large set", tenant.ListFilter{Q: "veteran", Problem: tenant.HasLargeSet}, 0},
		{"pieces of many, the whole of none", tenant.ListFilter{Q: "veteranveteran"}, 0},
	} {
		f, calls, seen := c.f, 0, map[uuid.UUID]bool{}
		f.Limit = 500
		for more := true; more && calls < 100; more = f.Cursor != "" {
			if calls%10 == 0 {
				cost := dbtest.Explain(t, conn, "keyward_platform", "", func(q *db.Queries) error {
					_, err := tenant.ReadList(t.Context(), q, f)
					return err
				})
				if cost.Pages > 4*walk+2000 || cost.Vain > 1000+1200+walk+500 {
					t.Errorf("%s, page %d, reads %v pages and %v tenants in vain:\n%s", c.name, calls, cost.Pages, cost.Vain, cost.Plans)
				}
			}
			page, next, err := w.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page {
				if seen[item.ID] {
					t.Fatalf("%s: %s is on two pages", c.name, item.Slug)
				}
				seen[item.ID] = true
			}
			f.Cursor = next
			calls++
		}
		if len(seen) != c.want || calls > crowd/walk+c.want/500+3 {
			t.Errorf("%s: %d tenants on %d pages, want %d", c.name, len(seen), calls, c.want)
		}
	}
}

// A list by algorithm or problem costs by what is on its page, not by how many tenants sign
// with the algorithm or how many policies there are.
func TestListsByPolicyReadFewTenants(t *testing.T) {
	w := newWorld(t)
	crowded(t, w)
	dbtest.Exec(t, w.url, `SET session_replication_role = replica;
		INSERT INTO policies (tenant_id, alg, is_default, rsa_bits, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds, purge_after_seconds,
			default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, due_at, created_at, updated_at)
		SELECT id, CASE WHEN slug LIKE 'needle-%' THEN 'RS256' ELSE 'ES256' END, true, CASE WHEN slug LIKE 'needle-%' THEN 2048 END, 2592000, 86400, 604800, 7776000, 900, 86400, 16,
			created_at + CASE WHEN slug LIKE 'crowd-%7' AND status = 'active' THEN interval '0' ELSE interval '100 years' END, created_at, created_at
		FROM tenants WHERE status <> 'deleted'`)
	dbtest.Exec(t, w.url, `SET session_replication_role = replica;
		UPDATE tenants SET jwks_outline = 'v1 1' || repeat(chr(10) || 'key ES256 active 200 kid', CASE WHEN slug LIKE 'needle-%' THEN 13 ELSE 12 END);
		INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at)
		SELECT t.id, i, CASE WHEN slug LIKE 'needle-%' AND i = 1 THEN timestamptz '1970-01-01 00:00:00+00' ELSE now() END, now() FROM tenants t, generate_series(1, 3) i;
		INSERT INTO keys (tenant_id, kid, alg, state, origin, public_jwk, sealed_private, data_key_version, created_at, published_at, state_event)
		SELECT tenant_id, 'next', alg, 'standby', 'generated', '{}', '\x00', 1, now() - interval '2 days', now() - interval '2 days', 1 FROM policies`)
	dbtest.Exec(t, w.url, "VACUUM ANALYZE policies")
	dbtest.Exec(t, w.url, "VACUUM ANALYZE tenants")
	dbtest.Exec(t, w.url, "VACUUM ANALYZE keys")
	dbtest.Exec(t, w.url, "VACUUM ANALYZE jwks_clients")
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, c := range []struct {
		name  string
		f     tenant.ListFilter
		want  int
		pages float64
	}{
		{"what nearly all sign with", tenant.ListFilter{Alg: "ES256"}, 50, 600},
		{"what few sign with", tenant.ListFilter{Alg: "RS256"}, 6, 200},
		{"what nobody signs with", tenant.ListFilter{Alg: "PS512"}, 0, 50},
		{"old algorithms", tenant.ListFilter{Problem: tenant.OldAlgorithm}, 6, 200},
		{"overdue", tenant.ListFilter{Problem: tenant.Overdue, Limit: 20}, 20, 1000}, // 1,800 are
		{"overdue, of few", tenant.ListFilter{Problem: tenant.Overdue, Alg: "RS256"}, 0, 1000},
		{"suspended", tenant.ListFilter{Problem: tenant.IsSuspended}, 6, 400},
		{"large sets", tenant.ListFilter{Problem: tenant.HasLargeSet}, 6, 100},
		{"large sets, of few", tenant.ListFilter{Problem: tenant.HasLargeSet, Q: "needle-3", Alg: "RS256"}, 1, 100},
		{"verifiers behind", tenant.ListFilter{Problem: tenant.VerifiersBehind}, 6, 30_000}, // 4,000 verifiers are looked at
		{"what few of all sign with", tenant.ListFilter{Q: "c", Alg: "RS256"}, 0, 6000},
		{"what all of few sign with", tenant.ListFilter{Q: "needle", Alg: "RS256"}, 6, 5000},
		{"what nearly all of all sign with", tenant.ListFilter{Q: "c", Alg: "ES256"}, 50, 5000},
		{"old algorithms of few", tenant.ListFilter{Q: "needle-3", Problem: tenant.OldAlgorithm}, 1, 5000},
		{"suspended, by algorithm", tenant.ListFilter{Status: tenant.Suspended, Alg: "ES256"}, 6, 400},
	} {
		var got []uuid.UUID
		cost := dbtest.Explain(t, conn, "keyward_platform", "", func(q *db.Queries) (err error) {
			got, err = tenant.ReadList(t.Context(), q, c.f)
			return err
		})
		if len(got) != c.want {
			t.Errorf("%s: %d tenants, want %d", c.name, len(got), c.want)
		}
		if cost.Pages > c.pages || strings.Contains(cost.Plans, "Seq Scan on tenants") {
			t.Errorf("%s reads %v pages:\n%s", c.name, cost.Pages, cost.Plans)
		}
	}
}

// Where all sign with one algorithm, statistics do not tell that nobody signs with another, and
// the primary key would have the order of the list too.
func TestListsOfAbsentAlgorithmsReadNoPolicies(t *testing.T) {
	w := newWorld(t)
	crowded(t, w)
	dbtest.Exec(t, w.url, `SET session_replication_role = replica;
		INSERT INTO policies (tenant_id, alg, is_default, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds, purge_after_seconds,
			default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, created_at, updated_at)
		SELECT id, 'ES256', true, 2592000, 86400, 604800, 7776000, 900, 86400, 16, created_at, created_at FROM tenants WHERE status <> 'deleted' ORDER BY id`)
	dbtest.Exec(t, w.url, "SET session_replication_role = replica; UPDATE policies SET due_at = now() + interval '100 years'")
	dbtest.Exec(t, w.url, "REINDEX INDEX policies_pkey") // it is the smaller one, so that PostgreSQL prefers it if it may
	dbtest.Exec(t, w.url, "VACUUM ANALYZE policies")
	dbtest.Exec(t, w.url, "VACUUM ANALYZE tenants")
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for name, f := range map[string]tenant.ListFilter{"old algorithms": {Problem: tenant.OldAlgorithm, Limit: 3}, "before all others": {Alg: "ES1"}, "behind all others": {Alg: "RS256"}} {
		cost := dbtest.Explain(t, conn, "keyward_platform", "", func(q *db.Queries) error {
			got, err := tenant.ReadList(t.Context(), q, f)
			if len(got) > 0 {
				t.Errorf("%s: %d tenants", name, len(got))
			}
			return err
		})
		if cost.Pages > 50 {
			t.Errorf("%s reads %v pages:\n%s", name, cost.Pages, cost.Plans)
		}
	}
}

// However a search finds tenants, its pages go through all of them once, newest
// first.
func TestPagesOfASearch(t *testing.T) {
	w := newWorld(t)
	crowded(t, w)
	for q, want := range map[string]int{"needle": 6, "crowd-1400": 11, "crowd-140": 111, "-1399": 11, "no. 12": 1111} {
		var slugs []string
		f := tenant.ListFilter{Q: q, Limit: 4}
		if want > 1000 {
			f.Limit = 500
		}
		for more := true; more; more = f.Cursor != "" {
			page, next, err := w.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for i, item := range page {
				if i > 0 && !page[i-1].CreatedAt.After(item.CreatedAt) {
					t.Errorf("%s before %s", page[i-1].Slug, item.Slug)
				}
				slugs = append(slugs, item.Slug)
			}
			f.Cursor = next
		}
		slices.Sort(slugs)
		if n := len(slices.Compact(slugs)); n != want || len(slugs) != want {
			t.Errorf("%s: %d tenants, %d of them different, want %d", q, len(slugs), n, want)
		}
	}
}

// The index leaves out nothing that has the text, whatever signs are in it.
func TestPiecesOfOddTexts(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	texts := []string{`it's 'a' "test" \ \\ & | ! (:*) <-> %_ $1 -`, "\t\n  x", "ÄÖ ß 日本語 👩\u200d💻", "a", "ab", "aaaa"}
	var parts, missed int
	err = conn.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE NOT keyward_pieces(lower(whole)) @@ keyward_pieces_of(lower(substr(whole, i, n))))
		FROM unnest($1::text[]) AS whole, generate_series(1, length(whole)) AS i, generate_series(1, length(whole) - i + 1) AS n`, texts).Scan(&parts, &missed)
	if err != nil || missed != 0 || parts < 500 {
		t.Errorf("%d of %d parts are missed, %v", missed, parts, err)
	}
	for part, want := range map[string]bool{"abc": true, "bcd": true, "xbc": false, "abd": false, "d": true, "da": false, "a": true} {
		var found bool
		if err := conn.QueryRow(t.Context(), "SELECT keyward_pieces('abcd') @@ keyward_pieces_of($1)", part).Scan(&found); err != nil || found != want {
			t.Errorf("%s: %v, %v", part, found, err)
		}
	}
}

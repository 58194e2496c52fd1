package moves

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
)

const (
	goneKeys   = 6000 // of a tenant that has rotated often
	purgedKeys = 2000 // of them
)

// manyKeys is a tenant with many keys that are gone, most of them not purged.
func manyKeys(t *testing.T, p *process) uuid.UUID {
	t.Helper()
	id := p.tenant(t, "many").ID
	dbtest.Exec(t, p.dsn, fmt.Sprintf(`SET session_replication_role = replica;
		INSERT INTO keys (tenant_id, kid, alg, state, origin, public_jwk, created_at, published_at, activated_at, activation, deprecated_at, token_horizon, expires_at, expired_at, purged_at, state_event)
		SELECT k.tenant_id, 'old-' || i, k.alg, CASE WHEN i > %[2]d THEN 'purged' ELSE 'expired' END, k.origin, CASE WHEN i <= %[2]d THEN k.public_jwk END,
			k.created_at - i * interval '1 hour', k.created_at - i * interval '1 hour', k.created_at - i * interval '1 hour', 'scheduled',
			k.created_at - i * interval '50 minutes', k.created_at - i * interval '40 minutes', k.created_at - i * interval '40 minutes', k.created_at - i * interval '40 minutes',
			CASE WHEN i > %[2]d THEN k.created_at - i * interval '10 minutes' END, 3
		FROM keys k, generate_series(1, %[1]d) i WHERE k.state = 'active' AND k.tenant_id = '%[3]s'`, goneKeys, goneKeys-purgedKeys, id))
	dbtest.Exec(t, p.dsn, "VACUUM ANALYZE keys")
	return id
}

// What a page of keys, and one key, cost depends on how many keys are published and listed,
// not on how many the tenant ever had.
func TestListsOfKeysReadFewKeys(t *testing.T) {
	p := newProcess(t)
	id := manyKeys(t, p)
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	now := time.Now()
	for name, c := range map[string]struct {
		f    Filter
		want int
	}{
		"all":                        {Filter{}, 51},
		"expired":                    {Filter{State: keys.Expired}, 51},
		"purged":                     {Filter{State: keys.Purged, Cursor: formatCursor(now.Add(-(goneKeys-purgedKeys)*time.Hour), "a")}, 51},
		"revoked":                    {Filter{State: keys.Revoked}, 0},
		"standby":                    {Filter{State: keys.Standby}, 1},
		"valid now":                  {Filter{ValidAt: now}, 2},
		"valid soon":                 {Filter{ValidAt: now.Add(time.Hour)}, 2},
		"valid now, of an algorithm": {Filter{ValidAt: now, Alg: "ES256"}, 2},
		"active now":                 {Filter{ValidAt: now, State: keys.Active}, 1},
	} {
		c.f.Limit = 50
		after, err := parseCursor(c.f.Cursor)
		if err != nil {
			t.Fatal(err)
		}
		var rows []db.ListKeysRow
		cost := dbtest.Explain(t, conn, "keyward_app", id.String(), func(q *db.Queries) error {
			rows, err = readKeys(t.Context(), q, id, c.f, after)
			return err
		})
		if len(rows) != c.want {
			t.Errorf("%s: %d keys, want %d", name, len(rows), c.want)
		}
		if cost.Pages > 150 || cost.Vain > 100 {
			t.Errorf("%s reads %v pages and %v keys in vain:\n%s", name, cost.Pages, cost.Vain, cost.Plans)
		}
	}
	cost := dbtest.Explain(t, conn, "keyward_app", id.String(), func(q *db.Queries) error {
		l, err := p.store.readPublished(t.Context(), &db.Tx{Queries: q}, id)
		if err == nil && len(l.keys) != 2 {
			t.Errorf("the schedule depends on %d keys", len(l.keys))
		}
		return err
	})
	if cost.Pages > 50 || cost.Vain > 100 {
		t.Errorf("the schedule reads %v pages and %v keys in vain:\n%s", cost.Pages, cost.Vain, cost.Plans)
	}
}

// A list of the keys that were published at a time has those that left since, by expiry or
// revocation, and in the order of all lists, page by page.
func TestKeysValidAtATime(t *testing.T) {
	p := newProcess(t)
	id := manyKeys(t, p)
	active := p.only(t, id, keys.Active)
	all, err := p.store.List(t.Context(), id, Filter{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	at := all.Items[100].PublishedAt.Add(time.Minute) // the keys since then were not published
	want := map[string]bool{}
	for cursor := ""; ; {
		page, err := p.store.List(t.Context(), id, Filter{Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Items {
			if !k.PublishedAt.After(at) && (k.ExpiredAt == nil || k.ExpiredAt.After(at)) {
				want[k.KID] = true
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	got := map[string]bool{}
	last := time.Time{}
	for cursor := ""; ; {
		page, err := p.store.List(t.Context(), id, Filter{ValidAt: at, Limit: 7, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Items {
			if got[k.KID] || !last.IsZero() && k.CreatedAt.After(last) {
				t.Errorf("%s is there twice, or out of order", k.KID)
			}
			got[k.KID], last = true, k.CreatedAt
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(want) < 20 || len(got) != len(want) {
		t.Errorf("%d keys were valid, want %d", len(got), len(want))
	}
	for kid := range got {
		if !want[kid] {
			t.Errorf("%s was not published then", kid)
		}
	}
	before := time.Now()
	p.revokeActive(t, id, StandbyTakesOver)
	for when, has := range map[time.Time]bool{before: true, time.Now(): false} {
		page, err := p.store.List(t.Context(), id, Filter{ValidAt: when, Limit: 50})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, k := range page.Items {
			found = found || k.KID == active
		}
		if found != has {
			t.Errorf("the revoked key was published at %s: %t, want %t", when, found, has)
		}
	}
}

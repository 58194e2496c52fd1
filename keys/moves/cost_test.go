package moves

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// newCountedProcess is a process whose round trips to PostgreSQL are counted.
func newCountedProcess(t *testing.T) (*process, *dbtest.RoundTrips) {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	proxy := dbtest.CountRoundTrips(t, dbtest.New(t))
	return newProcessOn(t, proxy.DSN, uri), proxy
}

// Creating a tenant takes few round trips, however many rows it writes.
func TestCreatingATenantTakesFewRoundTrips(t *testing.T) {
	p, proxy := newCountedProcess(t)
	for i := range 10 { // prepares the statements on whatever connections there are
		p.tenant(t, fmt.Sprintf("warm-up-%d", i))
	}
	before := proxy.Count()
	if _, err := p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching}); err != nil {
		t.Fatal(err)
	}
	if n := proxy.Count() - before; n > 5 {
		t.Errorf("%d round trips, want at most 5", n)
	}
}

// A revocation is an emergency: it asks the database three times, and nobody
// waits for a key to be made.
func TestRevokingTakesThreeRoundTripsAndMakesNoKey(t *testing.T) {
	p, proxy := newCountedProcess(t)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		for _, mode := range []Mode{StandbyTakesOver, FreshTakesOver} {
			t.Run(string(alg)+" "+string(mode), func(t *testing.T) {
				made := readyKeys(t, p.store, alg)
				id := p.tenant(t, strings.ToLower(string(alg)+"-"+string(mode)), tenant.DefaultPolicy(alg)).ID
				p.revokeActive(t, id, mode) // prepares the statements
				fewest := int64(1 << 62)    // the listener asks something too, now and then
				for range 5 {
					awaitReady(t, p.store.cfg.Generator, alg)
					kid := p.only(t, id, keys.Active)
					made.Store(0)
					before := proxy.Count()
					out, err := p.store.Revoke(t.Context(), tester, id, kid, RevokeRequest{Reason: keys.Unspecified, Mode: mode})
					if err != nil {
						t.Fatal(err)
					}
					fewest = min(fewest, proxy.Count()-before)
					if n := made.Load(); n != 0 || out.Active == nil || (out.Standby != nil) != (mode == StandbyTakesOver) {
						t.Errorf("%d keys were made while the caller waited; another signs: %t, a new standby: %t", n, out.Active != nil, out.Standby != nil)
					}
				}
				if fewest > 3 {
					t.Errorf("%d round trips, want at most 3", fewest)
				}
			})
		}
	}
}

// A batch that yields to requests sends its statements one by one, at full speed all at once.
func TestYieldingTakesARoundTripForEachStatement(t *testing.T) {
	p, proxy := newCountedProcess(t)
	p.store.pause = func(context.Context, time.Duration) {}
	var asked atomic.Int64
	cost := func(asks func() int64) int64 {
		p.store.cfg.Requests = asks
		fewest := int64(1 << 62) // statements are prepared at first, and the listener asks too
		for range 4 {
			p.becomeDue(t, 0)
			before := proxy.Count()
			if done := p.tick(t); done.Rotated != 1 {
				t.Fatalf("%+v, want one rotation", done)
			}
			fewest = min(fewest, proxy.Count()-before)
		}
		return fewest
	}
	full, way := cost(nil), cost(func() int64 { return asked.Add(yieldRate) })
	if more := way - full; more < 5 { // keys in, up and down, their events, the head
		t.Errorf("%d round trips at full speed, %d yielding", full, way)
	}
}

// readyKeys gives the store a generator with keys ready, and counts those that
// are made while somebody waits.
func readyKeys(t *testing.T, s *Store, alg jose.SignatureAlgorithm) (made *atomic.Int64) {
	made = new(atomic.Int64)
	g := NewGenerator(GeneratorConfig{Ready: 2})
	g.onKey, g.onWait = learn, func() { made.Add(1) }
	t.Cleanup(g.Close)
	g.Expect(alg, 0)
	s.cfg.Generator = g
	return made
}

func awaitReady(t *testing.T, g *Generator, alg jose.SignatureAlgorithm) {
	t.Helper()
	kind, err := poolKeyOf(alg, 0)
	if err != nil {
		t.Fatal(err)
	}
	pool := g.poolOf(kind)
	for deadline := time.Now().Add(2 * time.Minute); len(pool) < cap(pool); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no keys are made ahead")
		}
	}
}

func (p *process) revokeActive(t *testing.T, id uuid.UUID, mode Mode) Revocation {
	t.Helper()
	out, err := p.store.Revoke(t.Context(), tester, id, p.only(t, id, keys.Active), RevokeRequest{Reason: keys.Unspecified, Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A standby that is not ready is left to the worker, and a fresh active key
// that is not is made before the tenant is locked.
func TestRevokingDoesNotWaitForAStandby(t *testing.T) {
	p := newProcess(t)
	made := readyKeys(t, p.store, jose.RS256)
	p.store.cfg.Generator.Close() // nothing is made ahead any more
	id := p.tenant(t, "acme", tenant.DefaultPolicy(jose.RS256)).ID
	for awaiting := true; awaiting; { // nor is anything left
		_, awaiting = p.store.cfg.Generator.Ready(uuid.Nil, jose.RS256, 0)
	}
	made.Store(0)
	out := p.revokeActive(t, id, StandbyTakesOver)
	if out.Active == nil || out.Standby != nil || made.Load() != 0 {
		t.Errorf("another signs: %t, a new standby: %t, %d keys made", out.Active != nil, out.Standby != nil, made.Load())
	}
	if done := p.tick(t); len(p.in(t, id, keys.Standby)) != 1 {
		t.Errorf("the worker brought no standby: %+v", done)
	}
	made.Store(0)
	out = p.revokeActive(t, id, FreshTakesOver)
	if out.Active == nil || out.Active.Activation != byFreshKey || made.Load() != 1 {
		t.Errorf("another signs: %t, %d keys made", out.Active != nil, made.Load())
	}
	p.intact(t, id)
}

// What the worker asks costs by what is due, never by how many tenants exist.
func TestTheWorkersQueueIsAnIndex(t *testing.T) {
	p := newProcess(t)
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	// 20,000 policies of tenants that need not exist: no trigger looks.
	_, err = conn.Exec(t.Context(), `
		SET session_replication_role = replica;
		INSERT INTO policies (tenant_id, alg, is_default, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
			purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, due_at, created_at, updated_at)
		SELECT gen_random_uuid(), 'ES256', true, 2592000, 86400, 604800, 7776000, 900, 86400, 16,
			now() + make_interval(secs => n), now(), now() FROM generate_series(1, 20000) AS n;
		SET session_replication_role = origin;
		ANALYZE policies;
		SET ROLE keyward_platform`)
	if err != nil {
		t.Fatal(err)
	}
	for name, query := range map[string]string{
		"due":     "SELECT tenant_id, alg FROM policies WHERE due_at <= now() ORDER BY due_at, tenant_id, alg LIMIT 100",
		"next":    "SELECT due_at FROM policies WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1",
		"backlog": "SELECT count(*) FROM (SELECT 1 FROM policies WHERE due_at <= now() LIMIT 10000) AS due",
	} {
		rows, _ := conn.Query(t.Context(), "EXPLAIN "+query)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if !strings.Contains(plan, "policies_due") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s does not use the index:\n%s", name, plan)
		}
	}
}

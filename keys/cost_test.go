package keys

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// roundTrips is a proxy to PostgreSQL that counts how often it was asked
// something after it had answered.
type roundTrips struct {
	dsn   string
	count atomic.Int64
}

func countRoundTrips(t *testing.T, dsn string) *roundTrips {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &roundTrips{}
	port := l.Addr().(*net.TCPAddr).Port
	r.dsn = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", url.UserPassword(cfg.User, cfg.Password), port, cfg.Database)
	network, address := pgNetwork(cfg)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			go r.forward(client, server)
		}
	}()
	return r
}

func pgNetwork(cfg *pgx.ConnConfig) (network, address string) {
	if strings.HasPrefix(cfg.Host, "/") {
		return "unix", fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)
	}
	return "tcp", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
}

func (r *roundTrips) forward(client, server net.Conn) {
	var (
		answered atomic.Bool
		both     sync.WaitGroup
	)
	answered.Store(true)
	both.Go(func() {
		defer server.Close()
		_ = relay(server, client, func() {
			if answered.Swap(false) {
				r.count.Add(1)
			}
		})
	})
	both.Go(func() {
		defer client.Close()
		_ = relay(client, server, func() { answered.Store(true) })
	})
	both.Wait()
}

func relay(to io.Writer, from io.Reader, seen func()) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		seen()
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

// Creating a tenant takes few round trips, however many rows it writes.
func TestCreatingATenantTakesFewRoundTrips(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	proxy := countRoundTrips(t, dbtest.New(t))
	p := newProcessOn(t, proxy.dsn, uri)
	for i := range 10 { // prepares the statements on whatever connections there are
		p.tenant(t, fmt.Sprintf("warm-up-%d", i))
	}
	before := proxy.count.Load()
	if _, err := p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching}, nil); err != nil {
		t.Fatal(err)
	}
	if n := proxy.count.Load() - before; n > 5 {
		t.Errorf("%d round trips, want at most 5", n)
	}
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

package bench

import (
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/moves"
)

// manyTenants is a platform with tenants that can be asked for by number, and
// what one of them answers.
func manyTenants(b *testing.B, n int) (p *platform, path string, example *http.Response, body []byte) {
	dsn, uri := seeded(b, n)
	p = openPlatform(b, dsn, uri)
	example, body = fetch(b, "http://"+p.addr+"/t/"+manySlugs.Slug(0)+"/.well-known/jwks.json")
	return p, "/t/t-%07d/.well-known/jwks.json", example, body
}

// manySlugs names tenants that were seeded.
var manySlugs = moves.Seed{Keys: 4, Events: 12, Prefix: "t"}

// seeded is a database with so many tenants. KEYWARD_BENCH_URL names one that has
// them already (keyward bench seed --prefix t), with its KEYWARD_MASTER_KEY; its schema
// is brought up to date.
func seeded(b *testing.B, n int) (dsn, uri string) {
	if url := os.Getenv("KEYWARD_BENCH_URL"); url != "" {
		if err := db.Migrate(b.Context(), url); err != nil {
			b.Fatal(err)
		}
		return url, os.Getenv("KEYWARD_MASTER_KEY")
	}
	dsn, uri = dbtest.New(b), newMaster(b)
	seed := manySlugs
	seed.Tenants = n
	if err := seed.Write(b.Context(), openPlatform(b, dsn, uri).store, operator, func(moves.SeedProgress) {}); err != nil {
		b.Fatal(err)
	}
	return dsn, uri
}

// bareSet is an echo handler that writes the same bytes with the same headers.
func bareSet(like *http.Response, body []byte) http.Handler {
	e := echo.New()
	header := like.Header.Clone()
	header.Del("Date")
	answer := func(c echo.Context) error {
		h := c.Response().Header()
		for name, values := range header {
			h[name] = values
		}
		if c.Request().Header.Get("If-None-Match") != "" {
			h.Del("Content-Length")
			return c.NoContent(http.StatusNotModified)
		}
		c.Response().WriteHeader(http.StatusOK)
		_, err := c.Response().Write(body)
		return err
	}
	e.GET("/t/:tenant/.well-known/jwks.json", answer)
	return e
}

// bareSets is bareSet with a body for each tenant, in a map, and the fields of
// one of them. It leaves Content-Length to net/http, which finds it at less cost:
// a ninth field makes the map of them grow.
func bareSets(like *http.Response, bodies map[string][]byte) http.Handler {
	e := echo.New()
	header := like.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	e.GET("/t/:tenant/.well-known/jwks.json", func(c echo.Context) error {
		body, known := bodies[c.Param("tenant")]
		if !known {
			return echo.ErrNotFound
		}
		h := c.Response().Header()
		for name, values := range header {
			h[name] = values
		}
		if c.Request().Header.Get("If-None-Match") != "" {
			return c.NoContent(http.StatusNotModified)
		}
		c.Response().WriteHeader(http.StatusOK)
		_, err := c.Response().Write(body)
		return err
	})
	return e
}

// bodies are the JWK Sets of so many tenants, copied.
func (p *platform) bodies(b *testing.B, n int) map[string][]byte {
	all := make(map[string][]byte, n)
	for i := range n {
		slug := manySlugs.Slug(i)
		snap, _, err := p.snapshots.Get(b.Context(), slug)
		if err != nil {
			b.Fatal(err)
		}
		all[slug] = bytes.Clone(snap.JWKS)
	}
	return all
}

// BenchmarkJWKS compares JWK Sets from memory with bareSet: many tenants, in
// two patterns, as 200 and 304. By tenant, it compares them with bareSets.
func BenchmarkJWKS(b *testing.B) {
	n := size(2000)
	p, path, example, body := manyTenants(b, n)
	remember(b, traffic{Addr: p.addr, Conns: 32, Method: "GET", Path: path, Tenants: n, Want: 200})
	against := func(b *testing.B, bareAddr string) {
		for _, c := range []struct {
			name   string
			zipf   bool
			header string
			want   int
		}{
			{"uniform", false, "", 200},
			{"zipf", true, "", 200},
			{"not-modified", true, "If-None-Match: *\r\n", 304},
		} {
			b.Run(c.name, func(b *testing.B) {
				t := traffic{Addr: p.addr, Conns: 32, Method: "GET", Path: path, Header: c.header, Tenants: n, Zipf: c.zipf, Want: c.want}
				bare := t
				bare.Addr = bareAddr
				compare(b, newLoad(b, t), newLoad(b, bare), 200)
			})
		}
	}
	against(b, serveOn(b, bareSet(example, body)))
	b.Run("by-tenant", func(b *testing.B) { against(b, serveOn(b, bareSets(example, p.bodies(b, n)))) })
}

// remember asks once for every tenant, so that all are in memory.
func remember(b *testing.B, t traffic) {
	t.Each = true
	newLoad(b, t).round(b, 1+t.Tenants/t.Conns)
}

// BenchmarkJWKSMiss compares JWK Sets that are in nobody's memory with an echo
// handler that makes one SELECT by pgx per request.
func BenchmarkJWKSMiss(b *testing.B) {
	n := size(2000)
	p, path, _, _ := manyTenants(b, n)
	pool := barePool(b, p.dsn)
	e := echo.New()
	e.GET("/t/:tenant/.well-known/jwks.json", func(c echo.Context) error {
		var set []byte
		err := pool.QueryRow(c.Request().Context(), `SELECT json_build_object('keys', json_agg(k.public_jwk)) FROM tenants t JOIN keys k ON k.tenant_id = t.id
			WHERE t.slug = $1 AND t.status <> 'deleted' AND k.state IN ('active', 'standby', 'deprecated')`, c.Param("tenant")).Scan(&set)
		if err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, set)
	})
	t := traffic{Addr: p.addr, Conns: 32, Method: "GET", Path: path, Tenants: n, Want: 200, Each: true}
	bare := t
	bare.Addr = serveOn(b, e)
	_, before, _ := p.snapshots.Stats()
	asked := 0
	compareAfter(b, func() { p.snapshots.Missed(); asked++ }, newLoad(b, t), newLoad(b, bare), max(1, min(n/32, 100)))
	_, after, _ := p.snapshots.Stats()
	b.ReportMetric(float64(after-before)/float64(asked+1)/float64(32*max(1, min(n/32, 100))), "misses/request")
}

// barePool has as many connections as the platform.
func barePool(b *testing.B, dsn string) *pgxpool.Pool {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	cfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

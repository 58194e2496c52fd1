package bench

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// size is how many tenants a benchmark has: KEYWARD_BENCH_TENANTS, or few.
func size(few int) int {
	if n, err := strconv.Atoi(os.Getenv("KEYWARD_BENCH_TENANTS")); err == nil && n > 0 {
		return n
	}
	return few
}

// BenchmarkRotation lets the worker rotate ES256 policies that are all due at
// once, and compares it with what PostgreSQL needs for the same rows in batches
// of the same size when nothing guards them.
func BenchmarkRotation(b *testing.B) {
	n := size(5000)
	p := newPlatform(b)
	seed := keys.Seed{Tenants: n, Keys: 2, Events: 8, Prefix: "t"}
	if err := p.store.Seed(b.Context(), operator, seed, func(int) {}); err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), p.dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	for b.Loop() {
		before := heads(b, conn)
		p.pass(40 * 24 * time.Hour)
		began := time.Now()
		rotated := 0
		for {
			done, err := p.store.RunDue(b.Context(), operator, rotationBatch)
			if err != nil {
				b.Fatal(err)
			}
			if rotated += done.Rotated; done.Tenants == 0 {
				break
			}
		}
		took := time.Since(began)
		bare := unguarded(b, conn, before)
		b.ReportMetric(float64(rotated)/took.Seconds(), "rotations/s")
		b.ReportMetric(float64(n)/bare.Seconds(), "bare-rotations/s")
		b.ReportMetric(bare.Seconds()/took.Seconds()*float64(rotated)/float64(n), "of-bare")
	}
}

const rotationBatch = 500

// heads are the tenants and how long their histories were.
func heads(b *testing.B, conn *pgx.Conn) map[uuid.UUID]int64 {
	rows, err := conn.Query(b.Context(), "SELECT id, audit_seq FROM tenants WHERE slug <> 'platform' AND status <> 'deleted'")
	if err != nil {
		b.Fatal(err)
	}
	before := map[uuid.UUID]int64{}
	for rows.Next() {
		var id uuid.UUID
		var seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			b.Fatal(err)
		}
		before[id] = seq
	}
	return before
}

// unguarded writes what a rotation wrote once more: the same rows into tables
// with the same columns and indexes, without triggers, foreign keys and row
// level security, from within the server.
func unguarded(b *testing.B, conn *pgx.Conn, before map[uuid.UUID]int64) time.Duration {
	exec := func(sql string, args ...any) {
		if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
			b.Fatal(err)
		}
	}
	exec(`DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare;
		CREATE TABLE bare.keys (LIKE keys INCLUDING INDEXES); CREATE TABLE bare.audit_events (LIKE audit_events INCLUDING INDEXES);
		CREATE TABLE bare.tenants (LIKE tenants INCLUDING INDEXES); CREATE TABLE bare.policies (LIKE policies INCLUDING INDEXES);
		INSERT INTO bare.tenants SELECT * FROM tenants; INSERT INTO bare.policies SELECT * FROM policies;
		INSERT INTO bare.keys SELECT * FROM keys WHERE state <> 'standby'; UPDATE bare.keys SET state = 'standby' WHERE state = 'active';
		ANALYZE bare.keys, bare.tenants, bare.policies`)
	ids, seqs := make([]uuid.UUID, 0, len(before)), make([]int64, 0, len(before))
	for id, seq := range before {
		ids, seqs = append(ids, id), append(seqs, seq)
	}
	began := time.Now()
	for at := 0; at < len(ids); at += rotationBatch {
		end := min(at+rotationBatch, len(ids))
		exec("BEGIN")
		exec(`UPDATE bare.tenants b SET audit_seq = t.audit_seq, audit_hash = t.audit_hash FROM tenants t WHERE b.id = t.id AND t.id = ANY ($1)`, ids[at:end])
		exec(`INSERT INTO bare.audit_events SELECT e.* FROM unnest($1::uuid[], $2::bigint[]) AS m (id, seq) JOIN audit_events e ON e.tenant_id = m.id AND e.seq > m.seq`, ids[at:end], seqs[at:end])
		exec(`UPDATE bare.keys b SET state = k.state, deprecated_at = k.deprecated_at, activated_at = k.activated_at, sealed_private = k.sealed_private, expires_at = k.expires_at
			FROM keys k WHERE b.tenant_id = k.tenant_id AND b.kid = k.kid AND k.tenant_id = ANY ($1) AND k.state IN ('active', 'deprecated')`, ids[at:end])
		exec(`INSERT INTO bare.keys SELECT * FROM keys WHERE tenant_id = ANY ($1) AND state = 'standby'`, ids[at:end])
		exec(`UPDATE bare.policies b SET due_at = p.due_at FROM policies p WHERE b.tenant_id = p.tenant_id AND b.alg = p.alg AND p.tenant_id = ANY ($1)`, ids[at:end])
		exec("COMMIT")
	}
	return time.Since(began)
}

// BenchmarkRSARotation does the same with RSA keys of 2048 bits, beside as many
// bare key generations on all cores.
func BenchmarkRSARotation(b *testing.B) {
	const n = 64
	p := newPlatform(b)
	for i := range n {
		spec := tenant.Spec{Slug: "r" + strconv.Itoa(i), Caching: tenant.DefaultCaching, Policies: []tenant.Policy{tenant.DefaultPolicy("RS256")}}
		if _, err := p.store.CreateTenant(b.Context(), operator, spec, nil); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		p.pass(40 * 24 * time.Hour)
		began := time.Now()
		rotated := 0
		for done := (keys.Done{Tenants: 1}); done.Tenants > 0; rotated += done.Rotated {
			var err error
			if done, err = p.store.RunDue(b.Context(), operator, rotationBatch); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		bare := generate2048(b, rotated)
		b.ReportMetric(float64(rotated)/took.Seconds(), "rotations/s")
		b.ReportMetric(bare.Seconds()/took.Seconds(), "of-bare")
	}
}

// generate2048 makes n keys on all cores.
func generate2048(b *testing.B, n int) time.Duration {
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	began := time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for range work {
				if _, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

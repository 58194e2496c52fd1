package keys

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// BenchmarkRewrap rotates a local master key over KEYWARD_BENCH_TENANTS data
// keys (2,000). "ratio" is what that takes by what the bare AEAD operations
// and the bare set-based UPDATEs of the same rows take, in the same run: what
// locks, the audit history and reading cost.
func BenchmarkRewrap(b *testing.B) {
	n := 2000
	if v := os.Getenv("KEYWARD_BENCH_TENANTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	p := newProcess(b)
	p.seed(b, n)
	var took, bare time.Duration
	for b.Loop() {
		bare += p.bareRewrap(b)
		began := time.Now()
		r := p.rotateMaster(b, "")
		if took += time.Since(began); r.Rewrapped != int64(n)+1 {
			b.Fatalf("%d data keys re-wrapped, want %d", r.Rewrapped, n+1)
		}
	}
	b.ReportMetric(took.Seconds()/bare.Seconds(), "ratio")
	b.ReportMetric(bare.Seconds()/float64(b.N), "s-bare/op")
	b.ReportMetric(float64(n)*float64(b.N)/took.Seconds(), "data-keys/s")
}

// seed writes tenants that have a data key and a history of which only the head is there.
func (p *process) seed(b *testing.B, n int) {
	b.Helper()
	c := p.custody
	m, err := c.masterKey(b.Context(), c.current)
	if err != nil {
		b.Fatal(err)
	}
	ids, wrapped := make([]uuid.UUID, n), make([][]byte, n)
	for i := range n {
		key, err := seal.NewDataKey()
		if err != nil {
			b.Fatal(err)
		}
		if ids[i], err = uuid.NewV7(); err != nil {
			b.Fatal(err)
		}
		if wrapped[i], err = m.WrapDataKey(b.Context(), ids[i], 1, key); err != nil {
			b.Fatal(err)
		}
	}
	conn, err := pgx.Connect(b.Context(), p.dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	for _, s := range []struct {
		sql  string
		args []any
	}{
		{"SET session_replication_role = replica", nil},
		{
			`INSERT INTO tenants (id, slug, audit_seq, audit_hash, created_at, updated_at)
			SELECT id, 'bench-' || n, 1, $2, now(), now() FROM unnest($1::uuid[]) WITH ORDINALITY AS t (id, n)`,
			[]any{ids, audit.Genesis(uuid.Nil).Hash},
		},
		{
			`INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash)
			SELECT id, 1, now(), 'tenant.created', 'operator', 'bench', 'bench', '{}', $2, $2 FROM unnest($1::uuid[]) AS t (id)`,
			[]any{ids, audit.Genesis(uuid.Nil).Hash},
		},
		{
			`INSERT INTO data_keys (tenant_id, version, is_current, wrapped, master_key_id, created_at)
			SELECT id, 1, true, wrapped, $3, now() FROM unnest($1::uuid[], $2::bytea[]) AS t (id, wrapped)`,
			[]any{ids, wrapped, c.current},
		},
		{"ANALYZE tenants", nil},
		{"ANALYZE data_keys", nil},
	} {
		if _, err := conn.Exec(b.Context(), s.sql, s.args...); err != nil {
			b.Fatal(fmt.Errorf("%s: %w", s.sql, err))
		}
	}
}

// bareRewrap times one unwrap and one wrap per data key, and UPDATEs that
// write the results where they belong, in batches as large as a rotation's.
// The master key stays the same, so that the rows stay as good as they were.
func (p *process) bareRewrap(b *testing.B) (took time.Duration) {
	b.Helper()
	c := p.custody
	m, err := c.masterKey(b.Context(), c.current)
	if err != nil {
		b.Fatal(err)
	}
	var after uuid.UUID
	for {
		var batch []db.DataKeysWrappedByRow
		err := p.db.AsPlatform(b.Context(), func(tx *db.Tx) (err error) {
			batch, err = tx.DataKeysWrappedBy(b.Context(), &c.current, after, c.cfg.RewrapBatch)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		if len(batch) == 0 {
			return took
		}
		after = batch[len(batch)-1].TenantID
		began := time.Now()
		params := db.RewrapDataKeysParams{NewMasterKeyID: c.current, OldMasterKeyID: c.current, RewrappedAt: began}
		for _, row := range batch {
			key, err := m.UnwrapDataKey(b.Context(), row.TenantID, row.Version, row.Wrapped)
			if err != nil {
				b.Fatal(err)
			}
			closed, err := m.WrapDataKey(b.Context(), row.TenantID, row.Version, key)
			if err != nil {
				b.Fatal(err)
			}
			params.TenantIds, params.Versions = append(params.TenantIds, row.TenantID), append(params.Versions, row.Version)
			params.Wrappeds = append(params.Wrappeds, closed)
		}
		err = p.db.AsPlatform(b.Context(), func(tx *db.Tx) error {
			w := tx.Later()
			if _, err := w.RewrapDataKeys(b.Context(), params); err != nil {
				return err
			}
			return w.Send(b.Context())
		})
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
}

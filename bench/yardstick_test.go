package bench

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// yardstick writes what rotations wrote once more, into tables of its own that
// were as the real ones before: batches of many rows, from within the server, so
// that nobody waits for a client.
type yardstick struct {
	schema string
	// declared tables have the CHECKs and foreign keys of the real ones beside
	// their indexes; never their triggers and row level security.
	declared bool
	conns    []*pgx.Conn // each writes batches of its own
	took     time.Duration
}

// yardBatch are the tenants of one of a yardstick's transactions.
const yardBatch = 500

func newYardstick(b *testing.B, dsn, schema string, conns int, declared bool) *yardstick {
	y := &yardstick{schema: schema, declared: declared}
	for range conns {
		conn, err := pgx.Connect(b.Context(), dsn)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close(context.Background()) })
		y.conns = append(y.conns, conn)
	}
	return y
}

func (y *yardstick) exec(b *testing.B, conn *pgx.Conn, sql string, args ...any) {
	if _, err := conn.Exec(b.Context(), strings.ReplaceAll(sql, "yard.", y.schema+"."), args...); err != nil {
		b.Error(err)
	}
}

// copy makes the tables as the real ones are now.
func (y *yardstick) copy(b *testing.B) {
	like := "INCLUDING INDEXES"
	if y.declared {
		like += " INCLUDING CONSTRAINTS"
	}
	y.exec(b, y.conns[0], strings.ReplaceAll(`DROP SCHEMA IF EXISTS `+y.schema+` CASCADE; CREATE SCHEMA `+y.schema+`;
		CREATE TABLE yard.tenants (LIKE tenants $like) WITH (fillfactor = 80); CREATE TABLE yard.policies (LIKE policies $like);
		CREATE TABLE yard.keys (LIKE keys $like) WITH (fillfactor = 90); CREATE TABLE yard.audit_events (LIKE audit_events $like);
		INSERT INTO yard.tenants SELECT * FROM tenants; INSERT INTO yard.policies SELECT * FROM policies; INSERT INTO yard.keys SELECT * FROM keys;
		ANALYZE yard.keys, yard.tenants, yard.policies`, "$like", like))
	if y.declared {
		y.exec(b, y.conns[0], `ALTER TABLE yard.policies ADD FOREIGN KEY (tenant_id) REFERENCES yard.tenants;
			ALTER TABLE yard.audit_events ADD FOREIGN KEY (tenant_id) REFERENCES yard.tenants;
			ALTER TABLE yard.keys ADD FOREIGN KEY (tenant_id, alg) REFERENCES yard.policies,
				ADD FOREIGN KEY (tenant_id, data_key_version) REFERENCES data_keys (tenant_id, version)`)
	}
}

// write writes what has happened to the real tables since the last time.
func (y *yardstick) write(b *testing.B) {
	rows, err := y.conns[0].Query(b.Context(), "SELECT t.id, y.audit_seq FROM tenants t JOIN "+y.schema+".tenants y USING (id) WHERE t.audit_seq > y.audit_seq ORDER BY id")
	if err != nil {
		b.Fatal(err)
	}
	var ids []uuid.UUID
	var seqs []int64
	var id uuid.UUID
	var seq int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &seq}, func() error { ids, seqs = append(ids, id), append(seqs, seq); return nil }); err != nil {
		b.Fatal(err)
	}
	batches := make(chan int, len(ids)/yardBatch+1)
	for at := 0; at < len(ids); at += yardBatch {
		batches <- at
	}
	close(batches)
	began := time.Now()
	var wg sync.WaitGroup
	for _, conn := range y.conns {
		wg.Go(func() {
			for at := range batches {
				end := min(at+yardBatch, len(ids))
				y.batch(b, conn, ids[at:end], seqs[at:end])
			}
		})
	}
	wg.Wait()
	y.took += time.Since(began)
}

func (y *yardstick) batch(b *testing.B, conn *pgx.Conn, ids []uuid.UUID, seqs []int64) {
	y.exec(b, conn, "BEGIN")
	y.exec(b, conn, `UPDATE yard.tenants y SET audit_seq = t.audit_seq, audit_hash = t.audit_hash, feed_xid = t.feed_xid FROM tenants t WHERE y.id = t.id AND t.id = ANY ($1)`, ids)
	y.exec(b, conn, `INSERT INTO yard.audit_events SELECT e.* FROM unnest($1::uuid[], $2::bigint[]) AS m (id, seq) JOIN audit_events e ON e.tenant_id = m.id AND e.seq > m.seq`, ids, seqs)
	for _, state := range []string{"deprecated", "active"} { // in this order: one key is active
		y.exec(b, conn, `UPDATE yard.keys y SET state = k.state, activated_at = k.activated_at, activation = k.activation, deprecated_at = k.deprecated_at,
				token_horizon = k.token_horizon, expires_at = k.expires_at, sealed_private = k.sealed_private, data_key_version = k.data_key_version, state_event = k.state_event
			FROM keys k WHERE y.tenant_id = k.tenant_id AND y.kid = k.kid AND k.tenant_id = ANY ($1) AND k.state = $2 AND y.state <> $2`, ids, state)
	}
	y.exec(b, conn, `INSERT INTO yard.keys SELECT * FROM keys WHERE tenant_id = ANY ($1) AND state = 'standby'`, ids)
	y.exec(b, conn, `UPDATE yard.policies y SET due_at = p.due_at FROM policies p WHERE y.tenant_id = p.tenant_id AND y.alg = p.alg AND p.tenant_id = ANY ($1)`, ids)
	y.exec(b, conn, "COMMIT")
}

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// partitions is how many tables the divided one consists of.
const partitions = 32

// events is a copy of the table of audit events, in one or in many tables.
type events struct {
	table string
	took  map[string][]time.Duration
}

// partitionWork is what is done to audit events, at most so many times.
var partitionWork = []struct {
	name  string
	turns int
	sql   string // $1: some tenants, $2: how far they are
}{
	{"500 events of 250 tenants written", 100, `INSERT INTO %s (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash, feed_xid)
		SELECT tenant_id, seq + $2, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash, pg_current_xact_id()
		FROM audit_events WHERE tenant_id = ANY ($1::uuid[]) AND seq <= 2`},
	{"page of a history", 2000, `SELECT * FROM %s WHERE tenant_id = ($1::uuid[])[1] AND seq < $2 ORDER BY seq DESC LIMIT 50`},
	{"an event before another", 2000, `SELECT hash FROM %s WHERE tenant_id = ($1::uuid[])[1] AND seq = 1 + $2 - $2`},
	{"page of all histories", 200, `SELECT * FROM %s WHERE (at, tenant_id, seq) < (now() - make_interval(mins => $2::int), ($1::uuid[])[1], 0) ORDER BY at DESC, tenant_id DESC, seq DESC LIMIT 50`},
	{"page of the feed", 200, `SELECT * FROM %s WHERE (feed_xid, tenant_id, seq) > ('1'::xid8, ($1::uuid[])[1], $2) ORDER BY feed_xid, tenant_id, seq LIMIT 50`},
}

// BenchmarkPartitions holds audit events in one table against the same divided by
// a hash of the tenant, with the indexes of the real one.
func BenchmarkPartitions(b *testing.B) {
	dsn, _ := seeded(b, size(20_000))
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(sql string, args ...any) {
		if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
			b.Fatal(err)
		}
	}
	exec("DROP TABLE IF EXISTS whole, divided")
	exec("CREATE TABLE whole (LIKE audit_events INCLUDING ALL)")
	exec("CREATE TABLE divided (LIKE audit_events INCLUDING ALL) PARTITION BY HASH (tenant_id)")
	for i := range partitions {
		exec(fmt.Sprintf("CREATE TABLE divided_%d PARTITION OF divided FOR VALUES WITH (MODULUS %d, REMAINDER %d)", i, partitions, i))
	}
	both := []*events{{"whole", map[string][]time.Duration{}}, {"divided", map[string][]time.Duration{}}}
	for _, e := range both {
		exec("INSERT INTO " + e.table + " SELECT * FROM audit_events")
		exec("VACUUM (ANALYZE) " + e.table)
	}
	rows, err := conn.Query(b.Context(), "SELECT id FROM tenants WHERE slug <> 'platform' ORDER BY id")
	if err != nil {
		b.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		b.Fatal(err)
	}
	for round := 1; b.Loop(); round++ {
		for _, work := range partitionWork {
			for turn := range work.turns {
				some := make([]uuid.UUID, 250)
				for i := range some {
					some[i] = ids[(turn*250+i)%len(ids)]
				}
				some[0] = ids[rand.IntN(len(ids))]
				for _, e := range both {
					began := time.Now()
					exec(fmt.Sprintf(work.sql, e.table), some, round*1000+turn*2)
					e.took[work.name] = append(e.took[work.name], time.Since(began))
				}
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "median, µs\tone table\tdivided\tdivided by one")
	for _, work := range partitionWork {
		one, many := percentile(both[0].took[work.name], 0.5), percentile(both[1].took[work.name], 0.5)
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\n", work.name, one.Microseconds(), many.Microseconds(), many.Seconds()/one.Seconds())
	}
}

package dbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
)

// Cost is the cost of statements: pages read, cached or not, and rows read and
// discarded. Both are the same on every machine.
type Cost struct {
	Pages, Vain float64
	Plans       string
}

// Explain runs read with queries that are explained before they are answered,
// and returns their total cost. They run as the program runs them: as a role,
// for one tenant unless tenant is empty, and prepared, with a generic plan
// unless read itself makes PostgreSQL plan for the given values.
func Explain(t testing.TB, conn *pgx.Conn, role, tenant string, read func(*db.Queries) error) Cost {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	const begin = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('role', $1, true), set_config('keyward.tenant_id', $2, true)"
	if _, err := tx.Exec(t.Context(), begin, role, tenant); err != nil {
		t.Fatal(err)
	}
	x := &explainer{Tx: tx}
	if err := read(db.New(x)); err != nil {
		t.Fatal(err)
	}
	return x.cost
}

type explainer struct {
	pgx.Tx
	cost Cost
	n    int
}

func (x *explainer) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := x.explain(ctx, sql, args); err != nil {
		return nil, err
	}
	return x.Tx.Query(ctx, sql, args...)
}

func (x *explainer) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := x.explain(ctx, sql, args); err != nil {
		return failedRow{err}
	}
	return x.Tx.QueryRow(ctx, sql, args...)
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

func (x *explainer) explain(ctx context.Context, sql string, args []any) error {
	x.n++
	name := fmt.Sprintf("explained_%d", x.n)
	if _, err := x.Exec(ctx, "PREPARE "+name+" AS "+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	defer x.Exec(ctx, "DEALLOCATE "+name)
	execute := name
	if len(args) > 0 {
		execute += "(" + inlineLiterals(args) + ")"
	}
	var plan string
	if err := x.Tx.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE "+execute, pgx.QueryExecModeSimpleProtocol).Scan(&plan); err != nil {
		return err
	}
	var plans []struct{ Plan step }
	if err := json.Unmarshal([]byte(plan), &plans); err != nil {
		return err
	}
	top := plans[0].Plan
	x.cost.Pages += top.Hit + top.Read
	x.cost.Vain += top.wastedRows()
	x.cost.Plans += plan + "\n"
	return nil
}

func inlineLiterals(args []any) string {
	texts := make([]string, len(args))
	for i, a := range args {
		if at, ok := a.(time.Time); ok {
			a = at.Format(time.RFC3339Nano)
		}
		if list, is := a.([]string); is {
			a = "{" + strings.Join(list, ",") + "}" // of names without special characters
		}
		if list, is := a.([]uuid.UUID); is {
			a = "{" + strings.Join(uuid.UUIDs(list).Strings(), ",") + "}"
		}
		texts[i] = "'" + strings.ReplaceAll(fmt.Sprint(a), "'", "''") + "'"
	}
	return strings.Join(texts, ", ")
}

// step is a step of a plan as EXPLAIN tells it; its pages are also those of
// the steps below it, its rows are an average of its loops.
type step struct {
	Hit       float64 `json:"Shared Hit Blocks"`
	Read      float64 `json:"Shared Read Blocks"`
	Loops     float64 `json:"Actual Loops"`
	Removed   float64 `json:"Rows Removed by Filter"`
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Plans     []step
}

func (s step) wastedRows() (rows float64) {
	rows = (s.Removed + s.Rechecked) * s.Loops
	for _, p := range s.Plans {
		rows += p.wastedRows()
	}
	return rows
}

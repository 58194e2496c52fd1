package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// cost is what a statement did: rows that came, pages it looked at, and rows it
// looked at in vain.
type cost struct {
	rows, pages, vain float64
	plan              string
}

// step is a step of a plan as EXPLAIN tells it; its pages are also those of
// the steps below it.
type step struct {
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Hit     float64 `json:"Shared Hit Blocks"`
	Read    float64 `json:"Shared Read Blocks"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []step
}

func (s step) vain() (rows float64) {
	rows = s.Removed * s.Loops
	for _, p := range s.Plans {
		rows += p.vain()
	}
	return rows
}

// explainer stands between the generated queries and a transaction, and has
// each query explained instead of answered.
type explainer struct {
	pgx.Tx
	cost cost
}

var errExplained = errors.New("explained instead")

func (x *explainer) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	name := fmt.Sprintf("explained_%d", time.Now().UnixNano())
	if _, err := x.Prepare(ctx, name, sql); err != nil {
		return nil, err
	}
	explain := "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE " + name + "(" + literals(args) + ")"
	if err := x.Tx.QueryRow(ctx, explain, pgx.QueryExecModeSimpleProtocol).Scan(&x.cost.plan); err != nil {
		return nil, err
	}
	var plans []struct{ Plan step }
	if err := json.Unmarshal([]byte(x.cost.plan), &plans); err != nil {
		return nil, err
	}
	top := plans[0].Plan
	x.cost.rows, x.cost.pages, x.cost.vain = top.Rows, top.Hit+top.Read, top.vain()
	return nil, errExplained
}

func literals(args []any) string {
	texts := make([]string, len(args))
	for i, a := range args {
		if at, ok := a.(time.Time); ok {
			a = at.Format(time.RFC3339Nano)
		}
		texts[i] = fmt.Sprintf("'%v'", a)
	}
	return strings.Join(texts, ", ")
}

// explained is what a page costs, read as the program reads it: as a tenant's
// role, by prepared statements, planned for what they are about only if the
// program has them so.
func explained(t *testing.T, conn *pgx.Conn, f audit.Filter) cost {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	x := &explainer{Tx: tx}
	for _, set := range []string{
		"SET LOCAL plan_cache_mode = force_generic_plan", "SET LOCAL ROLE keyward_app", "SET LOCAL keyward.tenant_id = '" + f.TenantID.String() + "'",
	} {
		if _, err := tx.Exec(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := audit.ReadPage(t.Context(), db.New(x), f); !errors.Is(err, errExplained) {
		t.Fatal(err)
	}
	return x.cost
}

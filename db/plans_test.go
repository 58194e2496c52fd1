package db_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
)

// crowd is a database with tenants enough for the planner to mind. Its URL is
// a superuser's.
func crowd(t *testing.T, tenants int) string {
	t.Helper()
	url, master := dbtest.New(t), "file:"+filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	custody := custody.New(custody.Config{DB: d, URI: master, Now: time.Now, Log: log})
	if err := custody.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	generator := moves.NewGenerator(moves.GeneratorConfig{})
	defer generator.Close()
	store := moves.New(moves.Config{DB: d, Custody: custody, Generator: generator, Now: time.Now, Log: log})
	by := audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "test", Name: "test"}}
	if err := store.EnsurePlatform(t.Context(), by); err != nil {
		t.Fatal(err)
	}
	if err := (moves.Seed{Tenants: tenants, Keys: 4, Events: 12, Prefix: "crowd"}).Write(t.Context(), store, by, func(moves.SeedProgress) {}); err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, url, `SET session_replication_role = replica;
		INSERT INTO api_keys (id, tenant_id, role, name, secret_hash, created_at)
			SELECT gen_random_uuid(), id, 'tenant_admin', '', sha256('s'), now() FROM tenants;
		INSERT INTO workload_identities (tenant_id, id, name, issuer, audience, rules, role, max_token_lifetime_seconds, created_at, creator_type, creator_id, creator_name)
			SELECT id, gen_random_uuid(), 'ci', 'https://ci.example', 'keyward', '[]', 'tenant_signer', 3600, now(), 'operator', '', '' FROM tenants;
		INSERT INTO idempotency_keys (tenant_id, credential_id, key, request_hash, answer, created_at)
			SELECT id, 'c', 'k', 'h', sha256('a') || sha256('b'), now() FROM tenants;
		ANALYZE`)
	return url
}

// whole lists the statements that read a whole table, and why they may.
var whole = map[string][]string{
	"asked for by an operator":                     {"CountWrappedDataKeys"},
	"reads what a re-wrap has left, if one is due": {"CountStaleDataKeys"},
}

var wholeTable = regexp.MustCompile(`Seq Scan on (tenants|policies|keys|data_keys|audit_events|api_keys|workload_identities|idempotency_keys)\b`)

// No statement of a request or of the worker costs by how many tenants there
// are: with the plan that serves any parameters, and under row level security,
// each finds its rows by an index.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), crowd(t, 1500))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan; SET random_page_cost = 1.1"); err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, s := range statements(t) {
		if isException(whole, s.name) {
			continue
		}
		for _, role := range []string{"keyward_platform", "keyward_app", "keyward_public"} {
			plan, err := planAs(t, conn, role, s)
			if err != nil && strings.Contains(err.Error(), "42501") {
				continue // not a statement of this role
			}
			if err != nil {
				t.Fatalf("%s as %s: %v", s.name, role, err)
			}
			looked++
			if wholeTable.MatchString(plan) {
				t.Errorf("%s as %s reads a whole table:\n%s", s.name, role, plan)
			}
		}
	}
	if looked < 150 {
		t.Errorf("only %d plans were looked at", looked)
	}
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// planAs is how PostgreSQL would run a statement without knowing its
// parameters.
func planAs(t *testing.T, conn *pgx.Conn, role string, s statement) (string, error) {
	t.Helper()
	ctx, name := t.Context(), "plan_"+role+"_"+strings.ToLower(s.name)
	if _, err := conn.Exec(ctx, "RESET ROLE; SET ROLE "+role); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Prepare(ctx, name, s.sql); err != nil {
		return "", err
	}
	parameters := 0
	for _, m := range parameter.FindAllStringSubmatch(s.sql, -1) {
		n, _ := strconv.Atoi(m[1])
		parameters = max(parameters, n)
	}
	explain := "EXPLAIN EXECUTE " + name
	if parameters > 0 {
		explain += fmt.Sprintf("(%s)", strings.Join(slices.Repeat([]string{"NULL"}, parameters), ","))
	}
	rows, _ := conn.Query(ctx, explain, pgx.QueryExecModeSimpleProtocol)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n"), err
}

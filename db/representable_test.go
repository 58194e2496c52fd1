package db_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyward/keyward/db/dbtest"
)

// unrepresentable are times of PostgreSQL that time.Time or JSON (RFC 3339) do not have.
// A row with one of them would fail every statement that reads it: one in processes
// would cut every process off from notifications.
var unrepresentable = []string{"infinity", "-infinity", "294276-12-31T23:59:59Z", "4713-01-01 BC"}

// No column of any table takes a time that Go cannot read and write, whoever writes it.
func TestTimesThatGoDoesNotHave(t *testing.T) {
	url := dbtest.New(t)
	seed(t, url)
	dbtest.Exec(t, url, `SET session_replication_role = replica;
		INSERT INTO recoveries (epoch, at, operator) VALUES (1, now(), 'o');
		INSERT INTO publish_places (target, place, caught_up_at) VALUES ('t', 'p', now());
		INSERT INTO checkpoint_places (target, tried_since, written_at, failures) VALUES ('t', now(), now(), 0);
		INSERT INTO console_sessions (token_hash, subject, subject_name, role, created_at, last_seen_at, expires_at) VALUES (sha256('s'), 's', 's', 'platform_admin', now(), now(), now() + interval '1 hour');
		UPDATE tenants SET freeze_starts = ARRAY[now()], freeze_ends = ARRAY[now()], freeze_reasons = ARRAY['r']`)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	rows, _ := conn.Query(t.Context(), `SELECT table_name, column_name, data_type = 'ARRAY' AS is_array FROM information_schema.columns
		WHERE table_schema = 'public' AND udt_name IN ('timestamptz', '_timestamptz', 'timestamp', '_timestamp', 'date', '_date') AND table_name <> 'keyward_migrations'`)
	type column struct {
		Table, Name string
		IsArray     bool
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil || len(columns) < 60 {
		t.Fatalf("%d columns: %v", len(columns), err)
	}
	for _, c := range columns {
		for _, v := range unrepresentable {
			set := fmt.Sprintf("UPDATE %s SET %s = '%s'", c.Table, c.Name, v)
			if c.IsArray {
				set = fmt.Sprintf("UPDATE %s SET %s = ARRAY['%s'::timestamptz]", c.Table, c.Name, v)
			}
			tag, err := conn.Exec(t.Context(), set)
			if state(err) != "23514" { // check_violation
				t.Errorf("%s: %d rows, %v", set, tag.RowsAffected(), err)
			}
		}
	}
	if _, err := conn.Exec(t.Context(), "UPDATE processes SET master_keys = ARRAY[NULL]"); state(err) != "23514" {
		t.Errorf("a master key without version: %v", err)
	}
}

// state returns the SQLSTATE of an error of PostgreSQL.
func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

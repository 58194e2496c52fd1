package dbtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// MoveTime lets a test that has a clock of its own write times that are not the
// present: the database no longer compares them with its clock, only with each other.
// It replaces keyward_clock, as only the owner of the schema can. It reports whether
// the server takes connections, which some tests stop.
func MoveTime(t testing.TB, url string) bool {
	t.Helper()
	return setClock(t, url, "NULL")
}

// ShiftClock moves the clock by which the database judges times of effect; 0 makes it
// the machine's again.
func ShiftClock(t testing.TB, url string, by time.Duration) {
	t.Helper()
	if !setClock(t, url, fmt.Sprintf("clock_timestamp() + interval '%d microseconds'", by.Microseconds())) {
		t.Fatal("dbtest: the server takes no connections")
	}
}

func setClock(t testing.TB, url, now string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // also of use in a Cleanup
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `CREATE OR REPLACE FUNCTION public.keyward_clock() RETURNS timestamptz
		LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN `+now+`; END $$`)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return true
}

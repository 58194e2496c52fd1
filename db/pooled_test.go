package db_test

import (
	"errors"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// What a pooler looks like, cmd/keyward's TestBehindPgBouncer has.
func TestPostgreSQLSharesNoSessions(t *testing.T) {
	if shared, err := db.SharesSessions(t.Context(), dbtest.New(t)); shared || err != nil {
		t.Errorf("%t, %v", shared, err)
	}
	if _, err := db.SharesSessions(t.Context(), "postgres://127.0.0.1:1/none?connect_timeout=2"); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

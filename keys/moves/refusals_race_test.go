package moves

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// beside opens a second shell on the same database.
func (p *psql) beside(t *testing.T) *psql {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), p.conn.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return &psql{t: t, conn: conn, at: p.at}
}

// blocked returns when the backend waits for a lock, or is done without.
func blocked(t *testing.T, watch *psql, pid uint32, late chan error) {
	t.Helper()
	for waits := false; !waits && len(late) == 0; {
		const query = "SELECT cardinality(pg_blocking_pids($1)) > 0"
		if err := watch.conn.QueryRow(t.Context(), query, int32(pid)).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
}

// A data key is destroyed while another transaction seals with it. Whoever
// comes second waits for the other and is refused; otherwise a private key
// would be left that nothing opens.
func TestSealingAndDestroyingDoNotCross(t *testing.T) {
	a := newPSQL(t)
	b, watch := a.beside(t), a.beside(t)
	seal := func(x *act, id uuid.UUID) error { return x.enter(x.born(id, "kid", keys.Standby)) }
	for _, c := range []struct {
		name          string
		first, second func(*act, uuid.UUID) error
		rule          string
	}{
		{"sealing first", seal, sql(destroy), "data_keys_still_seals"},
		{"destroying first", sql(destroy), seal, "keys_data_key_is_live"},
	} {
		id, late := a.tenant(""), make(chan error, 1)
		a.must(func(x *act) error {
			if err := c.first(x, id); err != nil {
				return err
			}
			go func() { late <- b.try(func(y *act) error { return c.second(y, id) }) }()
			blocked(t, watch, b.conn.PgConn().PID(), late)
			return nil
		})
		if err := <-late; db.Constraint(err) != c.rule {
			t.Errorf("%s: %v, want %s", c.name, err, c.rule)
		}
	}
}

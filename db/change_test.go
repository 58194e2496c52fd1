package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// behindProxy is a pool on a new, seeded database that a proxy lies before.
func behindProxy(t *testing.T) (*db.DB, *dbtest.LossyProxy) {
	t.Helper()
	url := dbtest.New(t)
	seed(t, url)
	p := dbtest.NewLossyProxy(t, url)
	d, err := db.Open(t.Context(), db.Config{URL: p.URL, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, p
}

// due changes one policy.
func due(ctx context.Context, tx *db.Tx) error {
	w := tx.Later()
	if err := w.SetPoliciesDue(ctx, []uuid.UUID{a}, []string{"ES256"}, []time.Time{time.Now()}); err != nil {
		return err
	}
	return w.Send(ctx)
}

// Of a transaction whose COMMIT was sent and not answered nobody says that it changed
// nothing; of every other failure the error says that the outcome is known.
func TestLostCommits(t *testing.T) {
	errMine := errors.New("mine")
	for name, c := range map[string]struct {
		harm    func(*dbtest.LossyProxy)
		fn      func(context.Context, *db.Tx) error
		unknown bool
		there   int
	}{
		"answered":         {func(*dbtest.LossyProxy) {}, due, false, 1},
		"commit lost":      {(*dbtest.LossyProxy).LoseCommit, due, true, 1},
		"commit lost, off": {(*dbtest.LossyProxy).LoseCommitAndLeave, due, true, 1},
		"write lost":       {(*dbtest.LossyProxy).LoseWrite, due, false, 0},
		"away":             {func(p *dbtest.LossyProxy) { p.Away(true) }, due, false, 0},
		"refused": {func(*dbtest.LossyProxy) {}, func(ctx context.Context, tx *db.Tx) error {
			return errors.Join(due(ctx, tx), errMine)
		}, false, 0},
	} {
		for _, held := range []bool{false, true} {
			d, proxy := behindProxy(t)
			ctx, change := db.WithChange(t.Context(), held)
			c.harm(proxy)
			err := d.InTenant(ctx, a, func(tx *db.Tx) error { return c.fn(ctx, tx) })
			if held && err == nil {
				if change.Outcome() != db.Unchanged {
					t.Errorf("%s: %v before its commit", name, change.Outcome())
				}
				err = change.Commit(ctx, d, &a, func(*db.Writes) error { return nil })
			}
			change.Rollback(ctx)
			proxy.Away(false)
			if errors.Is(err, db.ErrUnknownOutcome) != c.unknown || c.unknown != (change.Outcome() == db.Unknown) || c.unknown && !errors.Is(err, db.ErrUnavailable) {
				t.Errorf("%s, held %t: %v, %v", name, held, err, change.Outcome())
			}
			if n := count(t, d, "keyward_platform", "", "policies", "due_at IS NOT NULL"); n != c.there || (c.there == 1 && err == nil) != (change.Outcome() == db.Changed) {
				t.Errorf("%s, held %t: %d changes are there, %v, %v", name, held, n, change.Outcome(), err)
			}
		}
	}
}

// A held transaction is committed with what is written later, in it; what joins it sees
// it and cannot end it; a second change is refused; nothing stays of one that is dropped.
func TestHeldTransaction(t *testing.T) {
	d := open(t, 2)
	ctx, change := db.WithChange(t.Context(), true)
	committed := false
	if err := d.InTenant(ctx, a, func(tx *db.Tx) error { return due(ctx, tx) }); err != nil {
		t.Fatal(err)
	}
	db.AfterCommit(ctx, func() { committed = true })
	sees := func(ctx context.Context) (n int) {
		err := d.AsPlatform(ctx, func(tx *db.Tx) error {
			return tx.Raw().QueryRow(ctx, "SELECT count(*) FROM policies WHERE due_at IS NOT NULL").Scan(&n)
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if sees(ctx) != 1 || sees(t.Context()) != 0 || committed {
		t.Errorf("joined: %d, beside: %d, committed %t", sees(ctx), sees(t.Context()), committed)
	}
	errMine := errors.New("mine")
	err := d.InTenant(ctx, b, func(tx *db.Tx) error {
		_, err := tx.Raw().Exec(ctx, "SELECT 1/0")
		return errors.Join(errMine, err)
	})
	if !errors.Is(err, errMine) || sees(ctx) != 1 {
		t.Errorf("%v", err)
	}
	if err := d.InLockedTenant(ctx, b, func(*db.Tx, db.Locked) error { return nil }); err == nil {
		t.Error("a second change was begun")
	}
	err = change.Commit(ctx, d, &a, func(w *db.Writes) error {
		return w.SetPoliciesDue(ctx, []uuid.UUID{a}, []string{"ES256"}, []time.Time{time.Unix(1e9, 0)})
	})
	if err != nil || !committed || change.Outcome() != db.Changed || sees(t.Context()) != 1 {
		t.Errorf("%v, committed %t, %v", err, committed, change.Outcome())
	}

	ctx, change = db.WithChange(t.Context(), true)
	if err := d.InTenant(ctx, b, func(tx *db.Tx) error { return tx.Later().SetPoliciesDue(ctx, nil, nil, nil) }); err != nil {
		t.Fatal(err)
	}
	db.AfterCommit(ctx, func() { t.Error("a rolled back transaction was committed") })
	change.Rollback(ctx)
	if user, tenant, _ := whoami(t, d); user != "keyward_public" || tenant != "" {
		t.Errorf("left as %q of %q", user, tenant)
	}
	if inUse, _ := d.Stat(); inUse != 0 {
		t.Errorf("%d connections are in use", inUse)
	}
}

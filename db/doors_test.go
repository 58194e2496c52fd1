package db_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

func whoami(t *testing.T, d *db.DB) (user, tenant string, pid int) {
	t.Helper()
	const query = "SELECT CASE WHEN current_user = session_user THEN '' ELSE current_user END, coalesce(keyward_tenant()::text, ''), pg_backend_pid()"
	if err := d.Pool().QueryRow(context.WithoutCancel(t.Context()), query).Scan(&user, &tenant, &pid); err != nil {
		t.Fatal(err)
	}
	return user, tenant, pid
}

// One connection serves one door after another: what one of them set is gone
// when the next one comes, however the first was left. Between doors it is the
// public's.
func TestNothingLeaksFromATransaction(t *testing.T) {
	d := open(t, 1)
	ctx, errMine := t.Context(), errors.New("mine")
	_, _, first := whoami(t, d)
	for name, leave := range map[string]func(){
		"committed": func() { _ = d.InTenant(ctx, a, func(*db.Tx) error { return nil }) },
		"refused":   func() { _ = d.InTenant(ctx, a, func(*db.Tx) error { return errMine }) },
		"failed": func() {
			_ = d.InTenant(ctx, a, func(tx *db.Tx) error { _, err := tx.Raw().Exec(ctx, "SELECT 1/0"); return err })
		},
		"panicked":    func() { defer func() { _ = recover() }(); _ = d.InTenant(ctx, a, func(*db.Tx) error { panic("x") }) },
		"as platform": func() { _ = d.AsPlatform(ctx, func(*db.Tx) error { return nil }) },
		"as public":   func() { _, _ = d.PublicTenant(ctx, a, "") },
		"sealed key":  func() { _, _ = d.SealedKey(ctx, a, "kid") },
		"nobody":      func() { _, _ = d.PublicTenant(ctx, uuid.Nil, "nobody") },
	} {
		leave()
		if user, tenant, pid := whoami(t, d); user != "keyward_public" || tenant != "" || pid != first {
			t.Errorf("%s: left as %q of %q on connection %d, began on %d", name, user, tenant, pid, first)
		}
		err := d.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			var tenant *string
			if err = tx.Raw().QueryRow(ctx, "SELECT keyward_tenant()::text").Scan(&tenant); tenant != nil {
				t.Errorf("%s: the platform is in tenant %s", name, *tenant)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The caller goes away in the middle of its transaction: nothing of it stays,
// and the connection serves the next one.
func TestRollbackSurvivesTheCaller(t *testing.T) {
	d := open(t, 1)
	_, _, first := whoami(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	err := d.InTenant(ctx, a, func(tx *db.Tx) error {
		if _, err := tx.Raw().Exec(ctx, "UPDATE policies SET due_at = now()"); err != nil {
			return err
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, db.ErrUnavailable) {
		t.Errorf("got %v, want the caller's own end", err)
	}
	if user, tenant, pid := whoami(t, d); user != "keyward_public" || tenant != "" || pid != first {
		t.Errorf("left as %q of %q on connection %d, began on %d", user, tenant, pid, first)
	}
	if n := count(t, d, "keyward_platform", "", "policies", "due_at IS NOT NULL"); n != 0 {
		t.Errorf("%d changes stayed", n)
	}
}

// A queued statement that changed another number of rows fails the whole
// transaction, also what came before it, in whatever way they are sent.
func TestExpectedRows(t *testing.T) {
	t.Run("at once", func(t *testing.T) { expectedRows(t, (*db.Writes).Send) })
	t.Run("one by one", func(t *testing.T) { expectedRows(t, (*db.Writes).SendEach) })
}

func expectedRows(t *testing.T, send func(*db.Writes, context.Context) error) {
	d, now := open(t, 1), time.Now()
	due := func(expect int) error {
		return d.InTenant(t.Context(), a, func(tx *db.Tx) error {
			w := tx.Later()
			for _, alg := range []string{"ES256", "ES384"} { // a has only the first
				if err := w.SetPoliciesDue(t.Context(), []uuid.UUID{a}, []string{alg}, []time.Time{now}); err != nil {
					return err
				}
				w.Expect(expect)
				expect = 0
			}
			return send(w, t.Context())
		})
	}
	if err := due(2); !errors.Is(err, db.ErrGuard) || !strings.Contains(err.Error(), "statement 1 changed 1 row instead of 2") {
		t.Errorf("one row instead of two: %v, want ErrGuard", err)
	}
	if n := count(t, d, "keyward_platform", "", "policies", "due_at IS NOT NULL"); n != 0 {
		t.Errorf("%d changes stayed", n)
	}
	if err := due(1); err != nil {
		t.Errorf("as expected: %v", err)
	}
	if n := count(t, d, "keyward_platform", "", "policies", "due_at IS NOT NULL"); n != 1 {
		t.Errorf("%d changes were kept, want 1", n)
	}
}

// Replicas that start at once migrate once.
func TestMigrateAtOnce(t *testing.T) {
	url := dbtest.Empty(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := db.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.PendingMigrations(t.Context()); n != 0 || err != nil {
		t.Errorf("%d migrations pending, %v", n, err)
	}
	list, err := db.MigrationStatus(t.Context(), url)
	if err != nil || len(list) == 0 {
		t.Fatalf("status: %v, %v", list, err)
	}
	for _, m := range list {
		if m.AppliedAt.IsZero() {
			t.Errorf("%s is pending", m.Name)
		}
	}
}

package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// manyKeys gives tenant a keys k000, k001, … beside its own.
func manyKeys(t *testing.T, url string, n int) (use db.RecordSignaturesParams) {
	t.Helper()
	dbtest.Exec(t, url, fmt.Sprintf(`SET session_replication_role = replica;
		INSERT INTO keys (tenant_id, kid, alg, state, origin, deprecated_at, expires_at, public_jwk, created_at, published_at, state_event)
		SELECT '%s', 'k' || to_char(i, 'FM000'), 'ES256', 'deprecated', 'imported', now(), now(), '{}', now(), now(), 1 FROM generate_series(0, %d) AS i`, a, n-1))
	now := time.Now()
	for i := range n {
		use.TenantIds, use.Kids = append(use.TenantIds, a), append(use.Kids, fmt.Sprintf("k%03d", i))
		use.SignedAts, use.TokenExpiresAts = append(use.SignedAts, now), append(use.TokenExpiresAts, now)
	}
	return use
}

const lockKeys = "SELECT 1 FROM keys WHERE tenant_id = $1 AND kid = ANY ($2) ORDER BY kid FOR UPDATE"

// Evidence waits for no change: what a change has locked is left out, and said so.
func TestEvidenceLeavesOutWhatIsLocked(t *testing.T) {
	d := open(t, 2)
	use := manyKeys(t, d.Pool().Config().ConnString(), 5)
	err := d.AsPlatform(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.Raw().Exec(t.Context(), lockKeys, a, []string{"k001", "k003"}); err != nil {
			return err
		}
		recorded, err := d.RecordSignatures(t.Context(), use)
		var kids []string
		for _, row := range recorded {
			kids = append(kids, row.KID)
		}
		slices.Sort(kids)
		if !slices.Equal(kids, []string{"k000", "k002", "k004"}) {
			t.Errorf("recorded %v beside a change of k001 and k003", kids)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "keyward_platform", "", "keys", "last_signed_at IS NOT NULL"); n != 3 {
		t.Errorf("%d keys have evidence, want 3", n)
	}
	if rest, err := d.RecordSignatures(t.Context(), use); err != nil || len(rest) != 5 {
		t.Errorf("recorded %d keys after the change, %v", len(rest), err)
	}
}

// Processes that record the same keys in opposite orders, while others change them,
// are no deadlock: neither an error nor a transaction that was tried again.
func TestEvidenceDoesNotDeadlock(t *testing.T) {
	d := open(t, 8)
	use := manyKeys(t, d.Pool().Config().ConnString(), 80)
	back := db.RecordSignaturesParams{
		TenantIds: use.TenantIds, SignedAts: use.SignedAts, TokenExpiresAts: use.TokenExpiresAts,
		Kids: slices.Clone(use.Kids),
	}
	slices.Reverse(back.Kids)
	var all sync.WaitGroup
	for _, do := range []func() error{
		func() error { _, err := d.RecordSignatures(t.Context(), use); return err },
		func() error { _, err := d.RecordSignatures(t.Context(), back); return err },
		func() error {
			return d.AsPlatform(t.Context(), func(tx *db.Tx) error {
				_, err := tx.Raw().Exec(t.Context(), lockKeys, a, use.Kids)
				return err
			})
		},
	} {
		for range 2 {
			all.Go(func() {
				for range 30 {
					if err := do(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if n := d.Repeats(); n != 0 {
		t.Errorf("%d transactions were victims", n)
	}
}

// A process that stops anywhere in a flush holds no lock: a change has every key at
// once.
func TestStoppedEvidenceHoldsNoLock(t *testing.T) {
	url := dbtest.New(t)
	seed(t, url)
	use := manyKeys(t, url, 250) // three transactions
	other, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stopped := 0
	for after := range int64(12) {
		proxy := dbtest.CountRoundTrips(t, url)
		d, err := db.Open(t.Context(), db.Config{URL: proxy.DSN, MaxConns: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		frozen, ended := proxy.FreezeAfter(after), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := d.RecordSignatures(ctx, use); ended <- err }()
		select {
		case <-frozen:
			stopped++
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		}
		err = other.AsPlatform(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Raw().Exec(t.Context(), lockKeys+" NOWAIT", a, use.Kids)
			return err
		})
		if err != nil {
			t.Errorf("stopped after %d requests: %v", after, err)
		}
		cancel()
		d.Close()
	}
	if stopped < 3 {
		t.Errorf("stopped in the middle only %d times", stopped)
	}
}

// PostgreSQL ends a transaction whose process does nothing, and that it ends a
// connection whose other end is gone is set for each.
func TestAbandonedTransactionsEnd(t *testing.T) {
	d := open(t, 1)
	var idle, user string
	err := d.InTenant(t.Context(), a, func(tx *db.Tx) error {
		return tx.Raw().QueryRow(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout'), (SELECT source FROM pg_settings WHERE name = 'tcp_user_timeout')").Scan(&idle, &user)
	})
	if err != nil || idle != "5s" || user != "session" {
		t.Errorf("idle in transaction: %s, tcp_user_timeout is set by %s, %v", idle, user, err)
	}
}

// A transaction that PostgreSQL ended, because its process stood still, has failed as
// unavailable: nothing is wrong with the request.
func TestEndedTransactionsAreUnavailable(t *testing.T) {
	d := open(t, 1)
	watch, err := pgx.Connect(t.Context(), d.Pool().Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(t.Context())
	err = d.InTenant(t.Context(), a, func(tx *db.Tx) error {
		var pid int
		if err := tx.Raw().QueryRow(t.Context(), "SELECT pg_backend_pid(), set_config('idle_in_transaction_session_timeout', '10ms', true)").Scan(&pid, nil); err != nil {
			t.Fatal(err)
		}
		for alive, deadline := true, time.Now().Add(20*time.Second); alive; {
			if err := watch.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $1", pid).Scan(&alive); err != nil || time.Now().After(deadline) {
				t.Fatalf("the session lives: %v, %v", alive, err)
			}
		}
		_, err := tx.Raw().Exec(t.Context(), "SELECT 1")
		return err
	})
	if !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

// The victim of a deadlock is run again, and its caller learns nothing of it.
func TestVictimsOfDeadlocksAreRepeated(t *testing.T) {
	d := open(t, 4)
	dbtest.Exec(t, d.Pool().Config().ConnString(), "ALTER DATABASE "+d.Pool().Config().ConnConfig.Database+" SET deadlock_timeout = '20ms'")
	manyKeys(t, d.Pool().Config().ConnString(), 2)
	first := map[string]*sync.Once{"k000": {}, "k001": {}}
	var both sync.WaitGroup // have their first lock
	both.Add(2)
	lock := func(one, two string) error {
		return d.InLockedTenant(t.Context(), uuid.New(), func(tx *db.Tx, _ db.Locked) error {
			for i, kid := range []string{one, two} {
				_, err := tx.Raw().Exec(t.Context(), "SELECT set_config('role', 'keyward_platform', true)")
				if err != nil {
					return err
				}
				if _, err := tx.Raw().Exec(t.Context(), lockKeys, a, []string{kid}); err != nil {
					return err
				}
				if i == 0 {
					first[one].Do(both.Done)
					both.Wait()
				}
			}
			return nil
		})
	}
	var all sync.WaitGroup
	for _, pair := range [][2]string{{"k000", "k001"}, {"k001", "k000"}} {
		all.Go(func() {
			if err := lock(pair[0], pair[1]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if d.Repeats() == 0 {
		t.Error("there was no deadlock")
	}
}

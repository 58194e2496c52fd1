package moves

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// The bounds of package keys are those of the database and of package db.
func TestTimeBoundsAgree(t *testing.T) {
	if keys.ClockTolerance != db.MaxClockOffset {
		t.Errorf("keys.ClockTolerance is %s, db.MaxClockOffset %s", keys.ClockTolerance, db.MaxClockOffset)
	}
	p := newPSQL(t)
	var tail float64
	if err := p.conn.QueryRow(t.Context(), "SELECT extract(epoch FROM public.keyward_signing_tail())").Scan(&tail); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(tail * float64(time.Second)); got != keys.SigningTail {
		t.Errorf("keyward_signing_tail is %s, keys.SigningTail %s", got, keys.SigningTail)
	}
}

// The database accepts an event if its time is the commit's, within the bound, and not
// before the previous event's.
func TestDatabaseRefusesOtherTimes(t *testing.T) {
	p := newPSQL(t)
	id := p.tenant("")
	url := p.conn.Config().ConnString()
	dbtest.ShiftClock(t, url, 0)
	now := func(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Microsecond) }
	for _, c := range []struct {
		name string
		at   time.Time
		rule string
	}{
		{"too old", now(-keys.TimeTolerance - time.Second), db.TimeOfEffect},
		{"ahead", now(keys.TimeTolerance + time.Minute), db.TimeOfEffect},
		{"of an hour ago", now(-time.Hour), db.TimeOfEffect},
		{"now", now(0), ""},
		{"before the last event", now(-3 * time.Second), db.TimeOfEffect},
		{"now again", now(time.Second), ""},
	} {
		err := p.try(func(a *act) error {
			_, err := a.happen(id, audit.Event{At: c.at})
			return err
		})
		if got := db.Constraint(err); got != c.rule || err != nil && c.rule == "" {
			t.Errorf("%s: %v, want rule %q", c.name, err, c.rule)
		}
	}

	// A transaction that waits before its commit is too old by then.
	err := p.try(func(a *act) error {
		_, err := a.happen(id, audit.Event{At: now(time.Second)})
		dbtest.ShiftClock(t, url, keys.TimeTolerance+2*time.Second)
		return err
	})
	if db.Constraint(err) != db.TimeOfEffect {
		t.Errorf("committed %s after its time: %v", keys.TimeTolerance+time.Second, err)
	}

	// The clock is set back by an hour, as after a failover: the chain goes on with the
	// last time, and with no other that is ahead.
	dbtest.ShiftClock(t, url, -time.Hour)
	var last time.Time
	if err := p.conn.QueryRow(t.Context(), "SELECT max(at) FROM audit_events WHERE tenant_id = $1", id).Scan(&last); err != nil {
		t.Fatal(err)
	}
	for at, rule := range map[time.Time]string{last: "", last.Add(time.Microsecond): db.TimeOfEffect, last.Add(-time.Microsecond): db.TimeOfEffect} {
		err := p.try(func(a *act) error {
			_, err := a.happen(id, audit.Event{At: at})
			return err
		})
		if got := db.Constraint(err); got != rule || err != nil && rule == "" {
			t.Errorf("%s after the last event: %v, want rule %q", at.Sub(last), err, rule)
		}
	}
}

// The time that the tenant's row repeats cannot lie beyond its last event, since the
// next change would take it.
func TestHeadTimeIsThatOfItsEvent(t *testing.T) {
	p := newPSQL(t)
	id := p.tenant("")
	for set, rule := range map[string]string{
		", audit_at = '2999-01-01'": "tenants_audit_head_exists", ", audit_at = (SELECT max(at) FROM audit_events WHERE tenant_id = tenants.id)": "",
	} {
		err := p.try(func(a *act) error {
			_, err := a.change(id, audit.Event{}, set)
			return err
		})
		if db.Constraint(err) != rule || err != nil && rule == "" {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// Two processes whose clocks differ by as much as they may change the same tenant in
// turn: no time in its chain, and of its keys, runs backwards, and nothing is refused.
func TestTimesOfOneChainNeverRunBackwards(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	apart := db.MaxClockOffset - 100*time.Millisecond
	fast := startProcess(t, p.dsn, p.master, &clock{offset: apart})
	slow := startProcess(t, p.dsn, p.master, &clock{offset: -apart})
	changes := map[string]func(*process) error{
		"a rotation": func(p *process) error {
			_, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{})
			return err
		},
		"a credential": func(p *process) error {
			k, _, err := p.tenants.CreateAPIKey(t.Context(), tester, tenant.NewAPIKey{TenantID: &made.ID, Role: tenant.TenantSigner, Name: "x"})
			_, revokeErr := p.tenants.RevokeAPIKey(t.Context(), tester, &made.ID, k.ID, false)
			return errors.Join(err, revokeErr)
		},
		"a setting": func(p *process) error {
			_, err := p.tenants.Update(t.Context(), tester, made.ID, tenant.Change{Name: tenant.Some(uuid.NewString())})
			return err
		},
		"an event": func(p *process) error {
			return p.audit.Append(t.Context(), made.ID, tester.Event(time.Time{}, audit.AuthorizationDenied))
		},
		"a data key": func(p *process) error {
			_, err := p.store.RotateDataKey(t.Context(), tester, made.ID)
			return err
		},
	}
	for first, one := range changes {
		for second, other := range changes {
			if err := one(fast); err != nil {
				t.Errorf("%s by the fast process: %v", first, err)
			}
			if err := other(slow); err != nil {
				t.Errorf("%s after %s: %v", second, first, err)
			}
		}
	}
	var backwards int
	p.query(t, `SELECT count(*) FROM (SELECT at, lag(at) OVER (PARTITION BY tenant_id ORDER BY seq) AS before FROM audit_events) AS e WHERE at < before`, &backwards)
	if n := fast.db.Repeats() + slow.db.Repeats(); backwards > 0 || n > 0 {
		t.Errorf("%d events are earlier than the one before, %d transactions were refused", backwards, n)
	}
}

// query reads one value as superuser.
func (p *process) query(t *testing.T, sql string, into any) {
	t.Helper()
	p.scan(t, sql, []any{into})
}

// scan reads the only row of a query.
func (p *process) scan(t *testing.T, sql string, into []any, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(into...); err != nil {
		t.Fatal(err)
	}
}

// shifted makes the clocks of the process and of the database movable together, so that
// the database goes on comparing them.
func shifted(t *testing.T, p *process) (shift func(time.Duration)) {
	t.Helper()
	p.clock.move = nil // which would end the comparison
	var by time.Duration
	return func(d time.Duration) {
		by += d
		dbtest.ShiftClock(t, p.dsn, by)
		p.clock.Advance(d)
	}
}

// checkTimes checks the events of a tenant from seq on: their time is that of the
// database, within the bound, and none is before an earlier one.
func checkTimes(t *testing.T, p *process, id uuid.UUID, seq int64) {
	t.Helper()
	var events, off, backwards int
	p.scan(t, `SELECT count(*) FILTER (WHERE seq > $2), count(*) FILTER (WHERE seq > $2 AND abs(extract(epoch FROM public.keyward_clock() - at)) > 5), count(*) FILTER (WHERE at < before)
		FROM (SELECT seq, at, lag(at) OVER (ORDER BY seq) AS before FROM audit_events WHERE tenant_id = $1) AS e`, []any{&events, &off, &backwards}, id, seq)
	if events == 0 || off > 0 || backwards > 0 {
		t.Errorf("%d events, of which the time of %d is not that of the database, and of %d before an earlier one", events, off, backwards)
	}
}

func lastSeq(t *testing.T, p *process, id uuid.UUID) (seq int64) {
	t.Helper()
	p.scan(t, "SELECT audit_seq FROM tenants WHERE id = $1", []any{&seq}, id)
	return seq
}

// A COMMIT that reaches the database too late, as by a network that held it back, is
// refused there, and the change is made again with the time of the second attempt.
func TestHeldCommitIsMadeAgain(t *testing.T) {
	p, proxy := newCountedProcess(t)
	shift := shifted(t, p)
	id := p.tenant(t, "acme").ID
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"a rotation", func() error {
			_, err := p.store.Rotate(t.Context(), tester, id, RotateRequest{})
			return err
		}},
		{"a revocation", func() error {
			_, err := p.store.Revoke(t.Context(), tester, id, p.only(t, id, keys.Active), RevokeRequest{Reason: keys.Compromised})
			return err
		}},
		{"a pass of the worker", func() error {
			if done := p.tick(t); done.Rotated == 0 || done.Failed > 0 {
				t.Errorf("%+v", done)
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shift(31 * 24 * time.Hour)
			seq, repeats := lastSeq(t, p, id), p.db.Repeats()
			proxy.OnCommit(func() {
				if p.db.Repeats() == repeats { // reads commit as well
					shift(keys.TimeTolerance + time.Second)
				}
			})
			defer proxy.OnCommit(nil)
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			if p.db.Repeats() == repeats {
				t.Error("no transaction was refused")
			}
			checkTimes(t, p, id, seq)
			p.intact(t, id)
		})
	}
}

// A lock that somebody holds on the table of policies for 20 s while the worker passes makes
// no time of a key older than the transaction that moved it.
func TestLockedTableDuringAPass(t *testing.T) {
	for _, mode := range []string{"ACCESS EXCLUSIVE", "SHARE"} { // nothing is read; nothing is written
		t.Run(mode, func(t *testing.T) {
			p := newProcess(t)
			shift := shifted(t, p)
			id := p.tenant(t, "acme").ID
			shift(31 * 24 * time.Hour)
			seq := lastSeq(t, p, id)
			conn, err := pgx.Connect(t.Context(), p.dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(t.Context()))
			if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE public.policies IN "+mode+" MODE"); err != nil {
				t.Fatal(err)
			}
			passed := make(chan error, 1)
			go func() {
				_, err := p.store.RunDue(context.WithoutCancel(t.Context()), robot, 100)
				passed <- err
			}()
			for waits := 0; waits == 0; {
				if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.policies'::regclass").Scan(&waits); err != nil {
					t.Fatal(err)
				}
			}
			shift(20 * time.Second)
			if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
				t.Fatal(err)
			}
			if err := <-passed; err != nil {
				t.Fatal(err)
			}
			checkTimes(t, p, id, seq)
			p.intact(t, id)
		})
	}
}

package db_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// Every door, and the listener, finds out that the clock of this process is off, and
// that it is right again; a change ends there, and what reads goes on.
func TestEveryDoorComparesClocks(t *testing.T) {
	url := dbtest.New(t)
	seed(t, url)
	var ahead atomic.Int64
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 2, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	nothing := func(*db.Tx) error { return nil }
	for name, enter := range map[string]func() error{
		"tenant":   func() error { return d.InTenant(t.Context(), a, nothing) },
		"platform": func() error { return d.AsPlatform(t.Context(), nothing) },
		"locked":   func() error { return d.InLockedTenant(t.Context(), a, func(*db.Tx, db.Locked) error { return nil }) },
		"sealed": func() error {
			if _, err := d.SealedKey(t.Context(), uuid.Nil, ""); !errors.Is(err, db.ErrNoRows) {
				return err
			}
			return nil
		},
	} {
		for _, offset := range []time.Duration{time.Hour, 0, -time.Minute, 0} {
			// A step is known without a round trip: here one measurement follows it.
			ahead.Store(int64(offset))
			if err := enter(); err != nil {
				t.Fatal(name, err)
			}
			got, known := d.ClockOffset()
			if wrong := got - offset; !known || wrong < -time.Second || wrong > time.Second {
				t.Errorf("%s: off by %s, measured %s", name, offset, got)
			}
			err := d.InTenant(t.Context(), a, func(tx *db.Tx) error {
				return tx.Later().AppendAudit(t.Context(), db.MoveAuditHeadsParams{}, db.InsertAuditEventsParams{}, nil)
			})
			if off := offset != 0; errors.Is(err, db.ErrClock) != off || errors.Is(d.CheckClock(), db.ErrClock) != off {
				t.Errorf("%s: off by %s, a change ends with %v", name, offset, err)
			}
		}
	}
}

// A process that does nothing learns of it by the heartbeat of its listener.
func TestListenerComparesClocks(t *testing.T) {
	url := dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 1, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	if _, known := d.ClockOffset(); known || d.CheckClock() != nil {
		t.Error("the offset is known before anybody asked")
	}
	h := listen(t, d)
	for deadline := time.Now().Add(20 * time.Second); d.CheckClock() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the listener compares no clocks")
		}
		if !h.Up() {
			receive(t, h.connected)
		}
	}
}

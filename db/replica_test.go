package db_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// A standby that hangs is asked by nobody but one question a second: reads return at once,
// to be answered by the primary, until it answers again.
func TestHangingStandbyIsLeftAlone(t *testing.T) {
	primary := dbtest.NewServer(t)
	dsn := primary.DSN()
	proxy := dbtest.NewProxy(t, primary.Replica().DSN())
	d, err := db.Open(t.Context(), db.Config{URL: dsn, ReadURL: proxy.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	read := func() error {
		_, _, err := d.PublicTenantOfReplica(t.Context(), uuid.Nil, "nobody")
		return err
	}
	if err := read(); !errors.Is(err, db.ErrNoRows) {
		t.Fatalf("before: %v", err)
	}
	resume := proxy.Stall()
	if err := read(); !errors.Is(err, db.ErrUnavailable) || errors.Is(err, db.ErrReplicaAway) {
		t.Errorf("the first read: %v", err)
	}
	for i := range 1000 {
		if err := read(); !errors.Is(err, db.ErrReplicaAway) {
			t.Fatalf("read %d asked the standby: %v", i, err)
		}
	}
	if _, err := d.PublicTenant(t.Context(), uuid.Nil, "nobody"); !errors.Is(err, db.ErrNoRows) {
		t.Errorf("the primary: %v", err)
	}
	if d.Outage() != nil {
		t.Error("an outage of the standby counts as one of the primary")
	}
	resume()
	for deadline := time.Now().Add(time.Minute); ; {
		err := read()
		if errors.Is(err, db.ErrNoRows) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after the end: %v", err)
		}
		if over := d.StandbyOutage(); over != nil {
			<-over
		}
	}
}

// A standby that cannot be reached is left alone as one that hangs.
func TestRefusingStandbyIsLeftAlone(t *testing.T) {
	dsn := dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: dsn, ReadURL: "postgres://nobody@127.0.0.1:1/none?sslmode=disable"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	if _, _, err := d.PublicTenantOfReplica(t.Context(), uuid.Nil, "nobody"); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("the first read: %v", err)
	}
	if _, _, err := d.PublicTenantOfReplica(t.Context(), uuid.Nil, "nobody"); !errors.Is(err, db.ErrReplicaAway) {
		t.Errorf("the second read: %v", err)
	}
}

package main

import (
	"errors"
	"sync"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// Requests that wait for one lock and use up the pool do not make a process unready.
func TestReadinessHasItsOwnConnection(t *testing.T) {
	a := opened(t, dbtest.New(t))
	var requests sync.WaitGroup
	release := make(chan struct{})
	defer requests.Wait()
	defer close(release)
	held := make(chan struct{})
	for range a.db.MaxConns() {
		requests.Go(func() {
			if err := a.db.AsPlatform(t.Context(), func(*db.Tx) error {
				held <- struct{}{}
				<-release
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for range a.db.MaxConns() {
		<-held
	}
	for part, err := range a.checkReady(t.Context()) {
		if err != nil {
			t.Errorf("%s: %v", part, err)
		}
	}
}

// A database that cannot be changed makes a process unready to change and sign; one that
// is away leaves it ready for verifiers, until it ends.
func TestReadinessForVerifiers(t *testing.T) {
	server := dbtest.NewServer(t)
	a := opened(t, server.DSN())
	dbtest.Exec(t, server.DSN(), "ALTER DATABASE keyward SET default_transaction_read_only = on")
	if got := a.checkReady(t.Context())["database"]; !errors.Is(got, errReadOnly) {
		t.Errorf("read-only: %v", got)
	}
	server.Stop()
	defer server.Start() // what ends with the test reads the database
	a.ready.checks = nil // as after a second
	if got := a.checkReady(t.Context())["database"]; !errors.Is(got, errNoDatabase) {
		t.Errorf("away: %v", got)
	}
	if got := a.checkPublic(t.Context()); got["process"] != nil || len(got) != 1 {
		t.Errorf("for verifiers: %v", got)
	}
	a.announceStop()
	if got := a.checkPublic(t.Context())["process"]; !errors.Is(got, errStopping) {
		t.Errorf("stopping: %v", got)
	}
}

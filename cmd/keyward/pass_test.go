package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// Passes write no line if there was nothing to do: they come at least once a minute, and with
// each change of a tenant. What they move is summed up in one line of many passes.
func TestPassesThatMoveNothingAreSilent(t *testing.T) {
	url := dbtest.New(t)
	a := opened(t, url)
	var lines bytes.Buffer
	a.log = slog.New(slog.NewTextHandler(&lines, nil)) // INFO and above
	for range 3 {
		if _, err := a.runPass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if lines.Len() != 0 {
		t.Errorf("passes without work wrote:\n%s", lines.String())
	}
	dbtest.Exec(t, url, "UPDATE policies SET due_at = now() - interval '1 s'") // due, and the plan is empty
	if _, err := a.runPass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines.Len() != 0 {
		t.Errorf("a pass that moved nothing wrote:\n%s", lines.String())
	}
	made, err := a.store.CreateTenant(t.Context(), audit.By{Actor: a.workerActor()}, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching})
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: public.Public(), KeyID: "old", Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.store.ImportPublic(t.Context(), audit.By{Actor: a.workerActor()}, made.ID, moves.PublicImport{Key: jwk, ExpiresAt: time.Now().Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	for a.workerCounters.expired.Load() == 0 { // it expires in a second
		if _, err := a.runPass(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := strings.Count(lines.String(), "worker passes completed"); got != 1 {
		t.Errorf("the pass in which a key expired wrote %d lines:\n%s", got, lines.String())
	}
	lines.Reset()
	for range 3 {
		a.passes.report(a.log, moves.Done{Tenants: 2, Rotated: 1})
	}
	if lines.Len() != 0 {
		t.Errorf("passes within %v of a line wrote:\n%s", sampleInterval, lines.String())
	}
	a.passes.written = a.passes.written.Step(-sampleInterval)
	a.passes.report(a.log, moves.Done{})
	if got := lines.String(); !strings.Contains(got, "passes=3 tenants=6 rotated=3 created=0") || strings.Count(got, "\n") != 1 {
		t.Errorf("the line of the passes after it:\n%s", got)
	}
}

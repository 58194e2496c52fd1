package tenant_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// hold locks the row of a tenant in a session of its own, until release is called.
func (w world) hold(t *testing.T, id uuid.UUID) (release func()) {
	t.Helper()
	tx, err := w.connect(t).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "SELECT FROM tenants WHERE id = $1 FOR UPDATE", id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			t.Error(err)
		}
	}
}

// untilWaiting returns when n sessions wait for locks.
func (w world) untilWaiting(t *testing.T, n int) {
	t.Helper()
	conn := w.connect(t)
	for waiting := 0; waiting < n; {
		err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A credential that is made while its maker is revoked with its children does not
// survive, whichever of the two comes first, whoever the maker is.
func TestNoChildOfARevocationSurvives(t *testing.T) {
	for _, c := range []struct {
		name                 string
		ofPlatform, revoking bool // of the maker; whether the revocation waits first
	}{
		{"a tenant's, made first", false, false},
		{"a tenant's, revoked first", false, true},
		{"the platform's, made first", true, false},
		{"the platform's, revoked first", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			platform, acme := w.tenant(t, tenant.PlatformSlug), w.tenant(t, "acme")
			home, role, held := &acme, tenant.TenantAdmin, acme
			if c.ofPlatform {
				home, role = nil, tenant.PlatformAdmin
			}
			maker, _ := w.key(t, home, role)
			by := audit.By{Actor: audit.Actor{Type: audit.ActorAPIKey, ID: maker.ID.String()}}
			create := func(ctx context.Context) (err error) {
				_, _, err = w.CreateAPIKey(ctx, by, tenant.NewAPIKey{TenantID: &acme, Role: tenant.TenantSigner})
				return err
			}
			revoke := func(ctx context.Context) (err error) {
				_, err = w.RevokeAPIKey(ctx, somebody, home, maker.ID, true)
				return err
			}
			first, second := create, revoke
			if c.revoking {
				first, second = revoke, create
				if c.ofPlatform {
					held = platform
				}
			}
			release := w.hold(t, held)
			done := [2]chan error{make(chan error, 1), make(chan error, 1)}
			go func() { done[0] <- first(t.Context()) }()
			w.untilWaiting(t, 1)
			go func() { done[1] <- second(t.Context()) }()
			w.untilWaiting(t, 2)
			release()
			for i, err := range []error{<-done[0], <-done[1]} {
				if err != nil && !(errors.Is(err, tenant.ErrUnauthenticated) && c.revoking && i == 1) {
					t.Errorf("the %d. change: %v", i+1, err)
				}
			}
			if left := w.ids(t, &acme); len(left) != 0 {
				t.Errorf("live credentials: %v", left)
			}
		})
	}
}

package tenant_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Flushes of the last use of credentials of many tenants, and revocations of the same ones,
// each in an order of its own, are no deadlock: no transaction is tried again.
func TestLastUseDoesNotDeadlock(t *testing.T) {
	w := newWorld(t)
	w.Store = tenant.New(tenant.Config{DB: w.db, Now: w.now, Authority: authority, RefusedURL: func(string) string { return "" }})
	var ids, tenantIDs, workloads []uuid.UUID
	for i := range 4 {
		id := w.tenant(t, fmt.Sprint("t-", i))
		for range 10 {
			k, _ := w.key(t, &id, tenant.TenantSigner)
			ids = append(ids, k.ID)
			made, err := w.CreateWorkloadIdentity(t.Context(), somebody, tenant.NewWorkloadIdentity{
				TenantID: id, Name: "w", Issuer: "https://issuer.example", Audience: "keyward", Role: tenant.TenantSigner,
				Rules: []tenant.ClaimRule{{Claim: "sub", Equals: "a"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			tenantIDs, workloads = append(tenantIDs, id), append(workloads, made.ID)
		}
	}
	now := time.Now()
	ats := make([]time.Time, len(ids))
	for i := range ats {
		ats[i] = now
	}
	undone := errors.New("undone")
	before := w.db.Repeats()
	var all sync.WaitGroup
	for range 3 {
		// The four lists as they were, in an order of one's own.
		shuffled := func() (keys, of, identities []uuid.UUID) {
			for _, i := range rand.Perm(len(ids)) {
				keys, of, identities = append(keys, ids[i]), append(of, tenantIDs[i]), append(identities, workloads[i])
			}
			return keys, of, identities
		}
		for _, do := range []func(tx *db.Tx, keys, of, identities []uuid.UUID) error{
			func(tx *db.Tx, keys, _, _ []uuid.UUID) error { return tx.TouchAPIKeys(t.Context(), keys, ats) },
			func(tx *db.Tx, _, of, identities []uuid.UUID) error {
				return tx.TouchWorkloadIdentities(t.Context(), of, identities, ats)
			},
			func(tx *db.Tx, keys, of, identities []uuid.UUID) error {
				if _, err := tx.RevokeAPIKeysByID(t.Context(), &now, keys); err != nil {
					return err
				}
				_, err := tx.DeleteWorkloadIdentities(t.Context(), now, of, identities)
				return errors.Join(err, undone)
			},
		} {
			all.Go(func() {
				for range 30 {
					keys, of, identities := shuffled()
					if err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error { return do(tx, keys, of, identities) }); err != nil && !errors.Is(err, undone) {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	if n := w.db.Repeats() - before; n != 0 {
		t.Errorf("%d transactions were victims", n)
	}
}

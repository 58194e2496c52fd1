package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// overdueAfter is how long something may be due before nobody seems to work.
const overdueAfter = 5 * time.Minute

// invariants looks for what must never be.
func (e *examination) invariants(ctx context.Context) {
	var overdue int64
	broken, err := policiesWithoutKeys(ctx, e.db, policyStretch)
	if err == nil {
		err = e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			overdue, err = tx.CountDuePolicies(ctx, now().Add(-overdueAfter))
			return err
		})
	}
	switch {
	case err != nil:
		e.say(failure, "keys", "%v", err)
		return
	case len(broken) > 0:
		e.say(failure, "keys", "not exactly one active and one standby key: %s; is a worker running? else rotate them by hand", listPolicies(broken))
	default:
		e.say(fine, "keys", "every policy has one active and one standby key")
	}
	if overdue > 0 {
		e.say(failure, "schedule", "%d policies have been due for more than %v: run keyward worker, or serve without --no-worker", overdue, overdueAfter)
		return
	}
	e.say(fine, "schedule", "nothing is overdue")
}

// policyStretch is how many policies a transaction looks at, so that none takes
// as long as PostgreSQL lets it, however many there are.
const policyStretch = 20_000

// policiesWithoutKeys goes through all policies and returns the first of those
// that lack a key.
func policiesWithoutKeys(ctx context.Context, d *db.DB, stretch int32) (broken []db.PoliciesWithoutKeysRow, err error) {
	for after := uuid.Nil; err == nil && after != uuid.Max && len(broken) == 0; {
		err = d.AsPlatform(ctx, func(tx *db.Tx) error {
			until, err := tx.EndOfPolicies(ctx, after, stretch)
			if err != nil {
				return err
			}
			broken, err = tx.PoliciesWithoutKeys(ctx, after, until)
			after = until
			return err
		})
	}
	return broken, err
}

func listPolicies(rows []db.PoliciesWithoutKeysRow) string {
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row.Slug + " " + row.Alg
	}
	return strings.Join(names, ", ")
}

// histories proves audit chains: of the newest tenants, or of all.
func (e *examination) histories(ctx context.Context) {
	tenants := tenant.New(tenant.Config{DB: e.db, Now: now})
	store := audit.New(audit.Config{DB: e.db, Now: now})
	signer := signing.New(signing.Config{DB: e.db, Now: now, Log: e.p.log})
	proved, events, cursor := 0, int64(0), ""
	for {
		page, next, err := tenants.List(ctx, tenant.ListFilter{Limit: 100, Cursor: cursor})
		if err != nil {
			e.say(failure, "audit", "%v", err)
			return
		}
		for _, t := range page {
			n, err := proveHistory(ctx, store, signer, t)
			if err != nil {
				e.say(failure, "audit", "%v", err)
				continue
			}
			proved, events = proved+1, events+n
		}
		if cursor = next; cursor == "" || !e.all {
			break
		}
	}
	what := "all"
	if cursor != "" {
		what = "the newest; --all proves every one"
	}
	e.say(fine, "audit", "%d tenants with %d events intact (%s)", proved, events, what)
}

// proveHistory proves the chain, and that the tenant's keys are as it has them.
func proveHistory(ctx context.Context, store *audit.Store, signer *signing.Signer, t tenant.Tenant) (int64, error) {
	r, err := store.Verify(ctx, t.ID)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.Slug, err)
	case !r.Intact:
		return 0, fmt.Errorf("the history of %s is broken at event %d: somebody with rights on the database has changed it; compare with a backup", t.Slug, *r.BrokenAt)
	}
	stray, err := signer.Stray(ctx, t.ID)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.Slug, err)
	case len(stray) > 0:
		return 0, fmt.Errorf("keys of %s are not as its history has them: %s; somebody with rights on the database has written them: revoke them all", t.Slug, strings.Join(stray, ", "))
	}
	return r.Events, nil
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// overdueLimit is the delay of a due policy that suggests a missing worker.
const overdueLimit = 5 * time.Minute

// checkInvariants checks that every policy has its keys and that none is
// overdue.
func (e *examination) checkInvariants(ctx context.Context) {
	var overdue int64
	broken, err := policiesWithoutKeys(ctx, e.db, policiesPerRead)
	if err == nil {
		err = e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			overdue, err = tx.CountDuePolicies(ctx, utcNow().Add(-overdueLimit))
			return err
		})
	}
	switch {
	case err != nil:
		e.addFinding(failure, "keys", "%v", err)
		return
	case len(broken) > 0:
		e.addFinding(failure, "keys", "not exactly one active and one standby key: %s; is a worker running? otherwise rotate by hand", listPolicies(broken))
	default:
		e.addFinding(fine, "keys", "every policy has one active and one standby key")
	}
	if overdue > 0 {
		e.addFinding(failure, "schedule", "%s %s been due for more than %v: run keyward worker, or serve without --no-worker",
			plural.Count(overdue, "policy"), plural.Verb(overdue, "has", "have"), overdueLimit)
		return
	}
	e.addFinding(fine, "schedule", "nothing is overdue")
}

// checkAuthority checks the codes of all credentials, tenants, policies and approvals.
// Without the master key, which is reported elsewhere, it cannot.
func (e *examination) checkAuthority(ctx context.Context) {
	if e.authority == nil {
		return
	}
	tenants := tenant.New(tenant.Config{DB: e.db, Now: utcNow, Authority: e.authority})
	forged, err := tenants.Forged(ctx, policiesPerRead, 20)
	switch {
	case err != nil:
		e.addFinding(failure, "authority", "%v", err)
	case len(forged) > 0:
		e.addFinding(failure, "authority", "not written by Keyward, and refused: %s; somebody can write to the database: close that way, then restore these rows from a backup, or revoke or delete them with SQL",
			strings.Join(forged, ", "))
	default:
		e.addFinding(fine, "authority", "every credential, tenant, policy and approval was written by Keyward")
	}
}

// policiesPerRead is the number of policies read in one transaction, which keeps
// each below the statement timeout.
const policiesPerRead = 20_000

// policiesWithoutKeys reads all policies, stretch by stretch, and returns the
// first ones without an active and a standby key.
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

// checkHistories verifies the audit chains of the newest tenants, or of all.
func (e *examination) checkHistories(ctx context.Context) {
	tenants := tenant.New(tenant.Config{DB: e.db, Now: utcNow})
	store := audit.New(audit.Config{DB: e.db, Now: utcNow})
	signer := signing.New(signing.Config{DB: e.db, Now: utcNow, Log: e.p.log})
	proved, events, cursor := 0, int64(0), ""
	for {
		page, next, err := tenants.List(ctx, tenant.ListFilter{Limit: 100, Cursor: cursor})
		if err != nil {
			e.addFinding(failure, "audit", "%v", err)
			return
		}
		for _, t := range page {
			n, err := verifyHistory(ctx, tenants, store, signer, t)
			if err != nil {
				e.addFinding(failure, "audit", "%v", err)
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
		what = "the newest; --all verifies every one"
	}
	e.addFinding(fine, "audit", "%s with %s intact (%s)", plural.Count(proved, "tenant"), plural.Count(events, "event"), what)
}

// verifyHistory verifies a tenant's chain and compares its keys, settings and
// credentials with it. It
// returns the number of events.
func verifyHistory(ctx context.Context, tenants *tenant.Store, store *audit.Store, signer *signing.Signer, t tenant.Tenant) (int64, error) {
	r, err := store.Verify(ctx, t.ID)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.Slug, err)
	case !r.Intact:
		return 0, fmt.Errorf("the history of %s is broken at event %d: it was changed in the database; compare with a backup", t.Slug, *r.BrokenAt)
	}
	stray, err := signer.StrayKeys(ctx, t.ID)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.Slug, err)
	case len(stray) > 0:
		return 0, fmt.Errorf("keys of %s contradict its history: %s; they were changed in the database: revoke them all", t.Slug, strings.Join(stray, ", "))
	}
	restored, err := tenants.Restored(ctx, t)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", t.Slug, err)
	case len(restored) > 0:
		return 0, fmt.Errorf("rows of %s contradict its history: %s; they were put back in the database: change the settings and policies again, verify the domains again, revoke the credentials", t.Slug, strings.Join(restored, ", "))
	}
	return r.Events, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/worker"
)

// leaseLimit is the age of the worker's lease that means that no worker runs.
const leaseLimit = time.Minute

// checkSession checks the connection and the settings of its login. It returns
// false if no other check of the database makes sense.
func (e *examination) checkSession(ctx context.Context) bool {
	s, err := e.db.Session(ctx)
	if err != nil {
		e.addFinding(failure, "database", "%v", err)
		return false
	}
	if s.Recovery {
		e.addFinding(failure, "database", "it is a standby, or still restoring, and accepts no writes: set KEYWARD_DATABASE_URL to the primary, or promote it: SELECT pg_promote()")
		return false
	}
	if s.ReadOnly {
		e.addFixed(failure, "database", resetSetting("default_transaction_read_only", s.ReadOnlySource, s), "it is read-only by default_transaction_read_only (%s)", s.ReadOnlySource)
	}
	if s.EscapeStrings {
		e.addFixed(failure, "database", resetSetting("standard_conforming_strings", s.EscapeSource, s), "standard_conforming_strings is off (%s): text may be misread", s.EscapeSource)
	}
	if !s.Encrypted && !s.SameMachine {
		e.addFinding(warning, "database", "the connection to another machine is not encrypted: add sslmode=verify-full to KEYWARD_DATABASE_URL")
	}
	if most := e.db.MaxConns(); most > s.MaxConnections {
		e.addFixed(warning, "database", []string{fmt.Sprintf("KEYWARD_DB_MAX_CONNS=%d", s.MaxConnections)},
			"the pool may open %d connections, and PostgreSQL allows %d to all processes together", most, s.MaxConnections)
	}
	return true
}

// resetSetting returns the statement that removes a setting where pg_settings says
// that it comes from.
func resetSetting(name, source string, s db.Session) []string {
	login, database := pgx.Identifier{s.Login}.Sanitize(), pgx.Identifier{s.Database}.Sanitize()
	alter := func(what string) []string { // also in a session that is read-only itself
		return []string{fmt.Sprintf("BEGIN READ WRITE; ALTER %s RESET %s; COMMIT;", what, name)}
	}
	switch source {
	case "database":
		return alter("DATABASE " + database)
	case "user":
		return alter("ROLE " + login)
	case "database user":
		return alter("ROLE " + login + " IN DATABASE " + database)
	case "client":
		return nil // options of KEYWARD_DATABASE_URL
	}
	return []string{fmt.Sprintf("ALTER SYSTEM RESET %s;", name), "SELECT pg_reload_conf();"}
}

// checkSchema checks the migrations, the roles of the login, and the guards that
// the migrations made. It returns whether the schema can be used.
func (e *examination) checkSchema(ctx context.Context) bool {
	n, err := e.db.PendingMigrations(ctx)
	switch {
	case err == nil && n > 0:
		e.addFixed(failure, "migrations", []string{"keyward migrate up"}, "%d %s pending: run keyward migrate up", n, plural.Verb(n, "is", "are"))
		return false
	case err == nil && n < 0:
		e.addFinding(warning, "migrations", "schema is newer than this binary: finish the upgrade")
		return e.checkRoles(ctx)
	case err == nil:
		e.addFinding(fine, "migrations", "the schema is current")
	}
	usable := e.checkRoles(ctx)
	e.checkGuards(ctx)
	if err != nil && usable {
		e.addFinding(failure, "migrations", "%v", err)
	}
	return err == nil && usable
}

// checkRoles takes each role that serving needs.
func (e *examination) checkRoles(ctx context.Context) bool {
	s, err := e.db.Session(ctx)
	if err != nil {
		e.addFinding(failure, "roles", "%v", err)
		return false
	}
	var refused []string
	for _, role := range db.ServingRoles {
		if err := e.db.TryRole(ctx, role); err != nil {
			refused = append(refused, role)
		}
	}
	if len(refused) > 0 {
		list := strings.Join(refused, ", ")
		e.addFixed(failure, "roles", []string{"GRANT " + list + " TO " + pgx.Identifier{s.Login}.Sanitize() + ";"},
			"the login %s cannot take %s: requests that need it fail", s.Login, list)
		return false
	}
	e.addFinding(fine, "roles", "the login %s takes each serving role", s.Login)
	return true
}

// checkGuards compares roles, privileges, row level security and triggers with
// those that the migrations make. Of each kind it shows a few.
func (e *examination) checkGuards(ctx context.Context) {
	faults, err := e.db.Guards(ctx)
	if err != nil {
		e.addFinding(failure, "guards", "%v", err)
		return
	}
	if len(faults.Missing)+len(faults.Extra) == 0 {
		e.addFinding(fine, "guards", "every privilege, policy and trigger is in place")
		return
	}
	var names, fix []string
	for _, g := range faults.Missing {
		names = append(names, "no "+withoutHash(g.ID))
	}
	for _, g := range faults.Extra {
		names = append(names, "an added "+withoutHash(g.ID))
	}
	for _, g := range slices.Concat(faults.Extra, faults.Missing) {
		fix = append(fix, g.SQL)
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
		fix = []string{"keyward recover"}
	}
	e.addFixed(failure, "guards", fix, "changed by hand or lost in a restore: %s", strings.Join(names, "; "))
}

// withoutHash returns the readable part of a guard's id.
func withoutHash(id string) string {
	switch words := strings.Fields(id); words[0] {
	case "function":
		return strings.Join(words[:len(words)-1], " ")
	case "policy":
		return strings.Join(words[:3], " ")
	}
	return id
}

// checkWrite writes a row and rolls it back.
func (e *examination) checkWrite(ctx context.Context) {
	switch err := e.db.TryWrite(ctx); {
	case errors.Is(err, db.ErrReadOnly):
		e.addFinding(failure, "writing", "the database is read-only: nothing rotates, and no key can be revoked")
	case errors.Is(err, db.ErrDiskFull):
		e.addFinding(failure, "writing", "the disk of the database is full: free some space, or no key can be revoked")
	case err != nil:
		e.addFinding(failure, "writing", "%v", err)
	default:
		e.addFinding(fine, "writing", "a row was written and rolled back")
	}
}

// checkTransactions checks that no row names a transaction that this server has not
// reached: feeds and webhooks would wait for it.
func (e *examination) checkTransactions(ctx context.Context) {
	var at db.StoredTransactionsRow
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		at, err = tx.StoredTransactions(ctx)
		return err
	})
	switch {
	case err != nil:
		e.addFinding(failure, "transactions", "%v", err)
	case at.Stored >= at.Unused:
		e.addFixed(failure, "transactions", []string{"keyward recover"},
			"the rows come from a server that was %s ahead of this one: no feed, event stream or webhook goes on until this one is as far", plural.Count(at.Stored-at.Unused+1, "transaction"))
	default:
		e.addFinding(fine, "transactions", "feeds and webhooks are in order")
	}
}

// checkWorker checks that a worker of any process renews its lease.
func (e *examination) checkWorker(ctx context.Context) {
	var age float64
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		age, err = tx.LeaseAge(ctx, worker.LeaseName)
		return err
	})
	since := (time.Duration(age) * time.Second).String()
	switch {
	case errors.Is(err, db.ErrNoRows):
		e.addFixed(warning, "worker", []string{"keyward worker"}, "none has run yet: run keyward worker, or serve without --no-worker")
	case err != nil:
		e.addFinding(failure, "worker", "%v", err)
	case age > leaseLimit.Seconds():
		e.addFixed(failure, "worker", []string{"keyward worker"}, "none has renewed its lease for %s: nothing rotates, expires or is delivered", since)
	default:
		e.addFinding(fine, "worker", "renewed its lease %s ago", since)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/loopback"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

// clockDrift is the difference from the database's clock that causes a warning.
// Tokens carry this machine's time, with a skew of a minute by default.
const (
	clockDrift   = 2 * time.Second
	clockTooMuch = 30 * time.Second
)

// checkConfiguration warns about settings that are valid but unwise.
func (e *examination) checkConfiguration() {
	cfg := e.p.cfg
	u, _ := url.Parse(cfg.publicURL) // validated before
	switch {
	case cfg.publicURL == "":
		e.addFinding(warning, "configuration", "KEYWARD_PUBLIC_URL is not set: issuers begin with this machine's address; set it to what verifiers use")
	case u.Scheme == "http" && !loopback.IsHost(u.Hostname()):
		e.addFinding(warning, "configuration", "KEYWARD_PUBLIC_URL is not https: an attacker on the network can replace the keys")
	default:
		e.addFinding(fine, "configuration", "public URL %s", cfg.publicURL)
	}
	e.checkTransport()
	for variable, hosts := range cfg.unverifiedDatabases() {
		e.addFinding(warning, "database TLS", "%s does not verify the certificate of %s: add sslmode=verify-full to the URL, and sslrootcert if its CA is your own", variable, strings.Join(hosts, ", "))
	}
}

// checkTransport checks the certificate files.
func (e *examination) checkTransport() {
	t, err := e.p.cfg.loadTransport()
	if err != nil {
		e.addFinding(failure, "TLS", "%v", err)
	}
	for _, f := range t.watchedFiles() {
		variable, what := f.names()
		switch end := f.expiresAt(); {
		case end.Before(utcNow()):
			e.addFinding(failure, "TLS", "the %s of %s ended on %s: renew it", what, variable, end.UTC().Format(time.DateOnly))
		case end.Before(utcNow().Add(certificateWarning)):
			e.addFinding(warning, "TLS", "the %s of %s ends on %s: renew it", what, variable, end.UTC().Format(time.DateOnly))
		default:
			e.addFinding(fine, "TLS", "the %s of %s ends on %s", what, variable, end.UTC().Format(time.DateOnly))
		}
	}
}

// openMasterKey opens the master key without a database.
func (e *examination) openMasterKey(ctx context.Context) {
	uri, err := e.p.masterURI()
	if err == nil {
		_, err = seal.Open(ctx, uri)
	}
	if err != nil {
		e.addFinding(failure, "master key", "%v", masterKeyError(err))
	}
}

// checkRowSecurity checks the tables and roles that isolate tenants from each
// other.
func (e *examination) checkRowSecurity(ctx context.Context) {
	var tables, roles []string
	var super bool
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if tables, err = tx.UnguardedTables(ctx); err != nil {
			return err
		}
		if roles, err = tx.UnguardedRoles(ctx); err != nil {
			return err
		}
		super, err = tx.LoginIsSuperuser(ctx)
		return err
	})
	switch {
	case err != nil:
		e.addFinding(failure, "row security", "%v", err)
	case len(tables)+len(roles) > 0:
		e.addFinding(failure, "row security", "not in force for tables %v and roles %v: they were changed by hand; compare with a database created by keyward migrate up", tables, roles)
	case super:
		e.addFinding(warning, "row security", "in force, but the login is a superuser: use a login with the keyward roles only")
	default:
		e.addFinding(fine, "row security", "in force")
	}
}

func (e *examination) checkClock(ctx context.Context) {
	var theirs time.Time
	began := time.Now()
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		began = time.Now()
		theirs, err = tx.DatabaseClock(ctx)
		return err
	})
	ended := time.Now()
	off := max(began.Sub(theirs), theirs.Sub(ended), 0).Round(time.Millisecond)
	switch {
	case err != nil:
		e.addFinding(failure, "clock", "%v", err)
	case off > clockTooMuch:
		e.addFinding(failure, "clock", "differs from the database's by %v: run NTP on both machines", off)
	case off > clockDrift:
		e.addFinding(warning, "clock", "differs from the database's by %v: run NTP on both machines", off)
	default:
		e.addFinding(fine, "clock", "agrees with the database's")
	}
}

// checkListen tests LISTEN on the configured connection.
func (e *examination) checkListen(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	heard := make(chan struct{})
	l := &db.Listener{URL: e.p.cfg.listenURL, Connected: func() { close(heard); cancel() }, Log: e.p.log}
	l.Run(ctx)
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	pooler, err := db.SharesSessions(asking, e.p.cfg.listenURL)
	if err == nil && pooler {
		e.addFinding(failure, "listening", "the URL leads through a transaction pooler, which does not support LISTEN: set KEYWARD_LISTEN_DATABASE_URL to PostgreSQL itself")
		return
	}
	select {
	case <-heard:
		e.addFinding(fine, "listening", "LISTEN/NOTIFY works")
	default:
		e.addFinding(failure, "listening", "LISTEN does not work: set KEYWARD_LISTEN_DATABASE_URL to PostgreSQL itself, not to a transaction pooler")
	}
}

// checkMasterKey compares the configured master key with the database's.
func (e *examination) checkMasterKey(ctx context.Context) {
	var n int64
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountMasterKeys(ctx)
		return err
	})
	if err == nil && n == 0 {
		e.addFinding(warning, "master key", "none is registered in the database yet: keyward serve registers the configured one")
		return
	}
	if e.p.cfg.masterKey == "" {
		return // reported by openMasterKey
	}
	if err == nil {
		var c *custody.Custody
		if c, err = e.p.openCustody(ctx, e.db); err == nil { // one is registered, so this writes nothing
			e.authority = c.Authority()
		}
	}
	advice := "keyward master status has the details"
	if errors.Is(err, custody.ErrWrongMasterKey) {
		advice = "set KEYWARD_MASTER_KEY to the master key of this database"
	}
	e.checkError("master key", "opens the data keys of this database", advice, err)
}

// confirmWait is how long doctor waits for processes to confirm that they serve what was
// committed; it takes them milliseconds.
const confirmWait = 2 * time.Second

// checkProcesses names the live processes, and those of them whose clock is off or that do
// not hear of changes.
func (e *examination) checkProcesses(ctx context.Context) {
	live, asked, err := e.db.AskProcesses(ctx, confirmWait)
	if err != nil {
		e.addFinding(failure, "processes", "%v", err)
		return
	}
	if len(live) == 0 {
		e.addFinding(warning, "processes", "none has been heard of for 10 s: start keyward serve")
		return
	}
	var names []string
	sound := true
	for _, p := range live {
		names = append(names, describeProcess(p))
		offset := (time.Duration(p.ClockOffsetMicroseconds) * time.Microsecond).Round(time.Millisecond)
		if offset.Abs() > clockDrift {
			sound = false
			e.addFinding(failure, "processes", "the clock of %s differs from the database's by %v: it neither changes nor signs; run NTP on its machine", p.Name, offset)
		}
		if p.ConfirmedUntil.Before(asked) {
			sound = false
			e.addFinding(warning, "processes", "%s has not confirmed within %v that it serves the latest changes: is it stopped, overloaded or cut off from PostgreSQL? After 10 s without the database it signs nothing", p.Name, confirmWait)
		}
	}
	const most = 20
	text := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	if sound {
		text += "; all serve the latest changes"
	}
	e.addFinding(fine, "processes", "%d live: %s", len(live), text)
}

// describeProcess says what a process is: name, kind, version and address.
func describeProcess(p db.Process) string {
	text := p.Kind + " " + p.Version
	if p.Address != "" {
		text += " at " + p.Address
	}
	return p.Name + " (" + text + ")"
}

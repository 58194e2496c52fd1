package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

// clockDrift is how far the clocks may differ before it matters: tokens are
// stamped by this machine, with a skew of a minute by default.
const (
	clockDrift   = 2 * time.Second
	clockTooMuch = 30 * time.Second
)

// configuration looks at settings that are allowed and still unwise.
func (e *examination) configuration() {
	cfg := e.p.cfg
	u, _ := url.Parse(cfg.publicURL) // checked before
	switch {
	case cfg.publicURL == "":
		e.say(warning, "configuration", "KEYWARD_PUBLIC_URL is not set: issuers begin with this machine's address; set it to what verifiers use")
	case u.Scheme == "http" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1":
		e.say(warning, "configuration", "KEYWARD_PUBLIC_URL is not https: whoever is between can give verifiers other keys")
	default:
		e.say(fine, "configuration", "public URL %s", cfg.publicURL)
	}
	e.transport()
}

// transport looks at the files of the addresses.
func (e *examination) transport() {
	t, err := e.p.cfg.loadTransport()
	if err != nil {
		e.say(failure, "TLS", "%v", err)
	}
	for _, f := range t.files() {
		variable, what := f.names()
		switch end := f.end(); {
		case end.Before(now()):
			e.say(failure, "TLS", "the %s of %s ended on %s: renew it", what, variable, end.UTC().Format(time.DateOnly))
		case end.Before(now().Add(soonExpired)):
			e.say(warning, "TLS", "the %s of %s ends on %s: renew it", what, variable, end.UTC().Format(time.DateOnly))
		default:
			e.say(fine, "TLS", "the %s of %s ends on %s", what, variable, end.UTC().Format(time.DateOnly))
		}
	}
}

// machine opens the master key without a database.
func (e *examination) machine(ctx context.Context) {
	uri, err := e.p.masterURI()
	if err == nil {
		_, err = seal.Open(ctx, uri)
	}
	if err != nil {
		e.say(failure, "master key", "%v", masterKeyError(err))
	}
}

func (e *examination) schema(ctx context.Context) bool {
	n, err := e.db.PendingMigrations(ctx)
	switch {
	case err != nil:
		e.say(failure, "migrations", "%v: run keyward migrate up, as the login that serves or one whose roles it has", err)
	case n > 0:
		e.say(failure, "migrations", "%d are pending: run keyward migrate up", n)
	case n < 0:
		e.say(warning, "migrations", "the schema is newer than this program: finish the upgrade")
	default:
		e.say(fine, "migrations", "the schema is current")
	}
	return err == nil && n <= 0
}

// guards looks at what keeps one tenant from another.
func (e *examination) guards(ctx context.Context) {
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
		e.say(failure, "row security", "%v", err)
	case len(tables)+len(roles) > 0:
		e.say(failure, "row security", "not in force for tables %v and roles %v: somebody changed them; restore with keyward migrate up on a copy and compare", tables, roles)
	case super:
		e.say(warning, "row security", "in force, but the login is a superuser: give Keyward one that has nothing but the keyward roles")
	default:
		e.say(fine, "row security", "in force")
	}
}

func (e *examination) clock(ctx context.Context) {
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
		e.say(failure, "clock", "%v", err)
	case off > clockTooMuch:
		e.say(failure, "clock", "differs from the database's by %v: run NTP on both machines", off)
	case off > clockDrift:
		e.say(warning, "clock", "differs from the database's by %v: run NTP on both machines", off)
	default:
		e.say(fine, "clock", "agrees with the database's")
	}
}

// listening proves that changes can be heard of.
func (e *examination) listening(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	heard := make(chan struct{})
	l := &db.Listener{URL: e.p.cfg.listenURL, Connected: func() { close(heard); cancel() }, Log: e.p.log}
	l.Run(ctx)
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	pooler, err := db.SharesSessions(asking, e.p.cfg.listenURL)
	if err == nil && pooler {
		e.say(failure, "listening", "leads through a transaction pooler, which loses LISTEN: set KEYWARD_LISTEN_DATABASE_URL to PostgreSQL itself")
		return
	}
	select {
	case <-heard:
		e.say(fine, "listening", "changes are heard of")
	default:
		e.say(failure, "listening", "LISTEN does not work: set KEYWARD_LISTEN_DATABASE_URL to PostgreSQL itself, not to a transaction pooler")
	}
}

// masterKey proves that the configured master key is the database's.
func (e *examination) masterKey(ctx context.Context) {
	var n int64
	err := e.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountMasterKeys(ctx)
		return err
	})
	if err == nil && n == 0 {
		e.say(warning, "master key", "the database knows none yet: keyward serve registers the configured one")
		return
	}
	if e.p.cfg.masterKey == "" {
		return // told already
	}
	if err == nil {
		_, err = e.p.openCustody(ctx, e.db) // one is registered, so this writes nothing
	}
	advice := "keyward master status tells more"
	if errors.Is(err, custody.ErrWrongMasterKey) {
		advice = "point KEYWARD_MASTER_KEY at the one this database was made with"
	}
	e.check("master key", "opens what this database keeps", advice, err)
}

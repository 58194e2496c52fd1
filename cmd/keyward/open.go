package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// needDatabase returns a *usageError unless a database is configured.
func (p *program) needDatabase() error {
	if p.cfg.databaseURL == "" {
		return &usageError{"KEYWARD_DATABASE_URL (--database-url) is not set; it names the database, as in postgres://user@host:5432/database"}
	}
	return nil
}

// openDB creates the connection pool; it does not connect.
func (p *program) openDB(ctx context.Context) (*db.DB, error) {
	if err := p.needDatabase(); err != nil {
		return nil, err
	}
	return db.Open(ctx, db.Config{
		URL: p.cfg.databaseURL, MaxConns: p.cfg.maxConns, ReadURL: p.cfg.readURL,
		Tracer: p.tracing.pgxTracer(),
		Pooled: p.cfg.listenURL != p.cfg.databaseURL, // two URLs mean that one leads through a pooler
	})
}

// unverifiedDatabases returns the variables of database URLs that lead to another machine
// without verifying it, with the hosts.
func (c config) unverifiedDatabases() map[string][]string {
	found := map[string][]string{}
	for variable, url := range map[string]string{
		"KEYWARD_DATABASE_URL": c.databaseURL, "KEYWARD_LISTEN_DATABASE_URL": c.listenURL, "KEYWARD_READ_DATABASE_URL": c.readURL,
	} {
		if variable == "KEYWARD_LISTEN_DATABASE_URL" && url == c.databaseURL || url == "" {
			continue
		}
		if hosts, err := db.UnverifiedHosts(url); err == nil && len(hosts) > 0 { // the URL was validated before
			found[variable] = hosts
		}
	}
	return found
}

// warnAboutTLS warns about connections to PostgreSQL that somebody on the network could
// take over.
func (p *program) warnAboutTLS() {
	for variable, hosts := range p.cfg.unverifiedDatabases() {
		p.log.Warn("the database's certificate is not verified: add sslmode=verify-full to the URL", "variable", variable, "hosts", hosts)
	}
}

// masterURI returns the configured URI, or a *usageError if there is none.
func (p *program) masterURI() (string, error) {
	if p.cfg.masterKey == "" {
		return "", &usageError{"KEYWARD_MASTER_KEY (--master-key) is not set; it names the master key, as in file:/etc/keyward/master.json"}
	}
	return p.cfg.masterKey, nil
}

// openCustody opens the configured master key against a database. It registers
// the key in a database without one.
func (p *program) openCustody(ctx context.Context, d *db.DB) (*custody.Custody, error) {
	uri, err := p.masterURI()
	if err != nil {
		return nil, err
	}
	c := custody.New(custody.Config{DB: d, URI: uri, Now: utcNow, Log: p.log})
	return c, masterKeyError(c.Open(ctx))
}

// masterKeyError turns an invalid URI into a *usageError; other errors stay.
func masterKeyError(err error) error {
	if errors.Is(err, seal.ErrBadURI) || errors.Is(err, seal.ErrUnknownScheme) {
		return &usageError{"KEYWARD_MASTER_KEY (--master-key): " + err.Error()}
	}
	return err
}

// publicURLError turns a public URL at which a tenant has its issuer into a
// *usageError; other errors stay.
func publicURLError(err error) error {
	if errors.Is(err, tenant.ErrPublicURLTaken) {
		return &usageError{"KEYWARD_PUBLIC_URL (--public-url): its host is that of a tenant's own issuer, which verifiers could take for another tenant's; " +
			"choose another, or change that issuer first (" + err.Error() + ")"}
	}
	return err
}

// requireSchema returns an error if migrations of this program are pending.
func requireSchema(ctx context.Context, d *db.DB) error {
	n, err := d.PendingMigrations(ctx)
	switch {
	case errors.Is(err, db.ErrUnavailable) || ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("the database has no schema yet, or this login may not use it (%w)\n  run keyward migrate up, or start with --migrate", err)
	case n > 0:
		return fmt.Errorf("the database lacks %s of this program\n  run keyward migrate up, or start with --migrate", plural.Count(n, "migration"))
	}
	return nil
}

// localOperator returns the user of this machine as an actor of audit events.
func localOperator() audit.By {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: name, Name: name + "@" + hostName()}}
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

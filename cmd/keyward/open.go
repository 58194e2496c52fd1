package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

// needDatabase demands that a database is configured.
func (p *program) needDatabase() error {
	if p.cfg.databaseURL == "" {
		return &usageError{"KEYWARD_DATABASE_URL (--database-url) is not set; it names the database, as in postgres://user@host:5432/database"}
	}
	return nil
}

// openDB prepares the pool of the configured database; it does not connect.
func (p *program) openDB(ctx context.Context) (*db.DB, error) {
	if err := p.needDatabase(); err != nil {
		return nil, err
	}
	return db.Open(ctx, db.Config{
		URL: p.cfg.databaseURL, MaxConns: p.cfg.maxConns, ReadURL: p.cfg.readURL,
		Pooled: p.cfg.listenURL != p.cfg.databaseURL, // why else would there be two
	})
}

// masterURI demands that a master key is configured.
func (p *program) masterURI() (string, error) {
	if p.cfg.masterKey == "" {
		return "", &usageError{"KEYWARD_MASTER_KEY (--master-key) is not set; it names the master key, as in file:/etc/keyward/master.json"}
	}
	return p.cfg.masterKey, nil
}

// openCustody opens the configured master key against a database, which
// registers it in one that has none.
func (p *program) openCustody(ctx context.Context, d *db.DB) (*custody.Custody, error) {
	uri, err := p.masterURI()
	if err != nil {
		return nil, err
	}
	c := custody.New(custody.Config{DB: d, URI: uri, Now: now, Log: p.log})
	return c, masterKeyError(c.Open(ctx))
}

// masterKeyError tells a bad setting from a key that is not there.
func masterKeyError(err error) error {
	if errors.Is(err, seal.ErrBadURI) || errors.Is(err, seal.ErrUnknownScheme) {
		return &usageError{"KEYWARD_MASTER_KEY (--master-key): " + err.Error()}
	}
	return err
}

// current demands a schema that is not older than this program.
func current(ctx context.Context, d *db.DB) error {
	n, err := d.PendingMigrations(ctx)
	switch {
	case errors.Is(err, db.ErrUnavailable) || ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("the database has no schema yet, or not one this login may use (%w)\n  run keyward migrate up, or start with --migrate", err)
	case n > 0:
		return fmt.Errorf("the database lacks %d of this program's migrations\n  run keyward migrate up, or start with --migrate", n)
	}
	return nil
}

// operator is whoever runs a command on this machine.
func operator() audit.By {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: name, Name: name + "@" + hostname()}}
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

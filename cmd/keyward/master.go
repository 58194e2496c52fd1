package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

type masterCmd struct {
	Init   masterInitCmd   `cmd:"" help:"Create the master key that KEYWARD_MASTER_KEY names; never overwrite one."`
	Add    masterAddCmd    `cmd:"" help:"Add a version to the file without using it yet."`
	Status masterStatusCmd `cmd:"" help:"List the versions and the number of data keys that each wraps."`
	Rotate masterRotateCmd `cmd:"" help:"Re-wrap all data keys under a new version or another master key, online."`
	Retire masterRetireCmd `cmd:"" help:"Retire a version; refused while it wraps a data key."`
	Prune  masterPruneCmd  `cmd:"" help:"Remove the versions that wrap no data key."`
}

type (
	masterInitCmd   struct{}
	masterAddCmd    struct{}
	masterStatusCmd struct{}
	masterRotateCmd struct {
		To        string `name:"to" placeholder:"URI" help:"Move to this master key. Default: a new version of the current one."`
		Force     bool   `name:"force" help:"Rotate although a live process cannot open the new version."`
		FullSpeed bool   `name:"full-speed" help:"Skip throttling, so that requests may wait: for a compromised master key."`
	}
	masterRetireCmd struct {
		Version string `arg:"" help:"Select the version, as keyward master status prints it."`
		URI     string `name:"uri" placeholder:"URI" help:"Select the master key, if several have such a version."`
	}
	masterPruneCmd struct{}
)

// Run is keyward master init. An existing key is no error, so that it can run
// at every start.
func (masterInitCmd) Run(ctx context.Context, p *program) error {
	uri, err := p.masterURI()
	if err != nil {
		return err
	}
	ring, err := seal.Init(ctx, uri)
	if err == nil {
		_, err = fmt.Fprintf(p.stdout, "Created %s.\nWithout it no private key in the database can be opened: make a backup now, and store it apart from the database's.\n", seal.Redact(ring.URI()))
		return err
	}
	if !errors.Is(err, seal.ErrExists) {
		return masterKeyError(err)
	}
	if ring, err = seal.Open(ctx, uri); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s exists already and was not changed.\n", seal.Redact(ring.URI()))
	return err
}

// Run is keyward master add.
func (masterAddCmd) Run(ctx context.Context, p *program) error {
	masters, done, err := p.openMaster(ctx)
	if err != nil {
		return err
	}
	defer done()
	uri, version, err := masters.AddMaster(ctx)
	if err != nil {
		return masterKeyError(err)
	}
	_, err = fmt.Fprintf(p.stdout, "Version %s is in %s, and wraps nothing yet.\nCopy the file to every machine, then run keyward master rotate.\n", version, seal.Redact(uri))
	return err
}

// Run is keyward master status. With the wrong master key it prints the status
// and returns an error.
func (masterStatusCmd) Run(ctx context.Context, p *program) error {
	masters, done, err := p.openMaster(ctx)
	if err != nil && !errors.Is(err, custody.ErrWrongMasterKey) {
		return err
	}
	defer done()
	list, statusErr := masters.Status(ctx)
	if statusErr != nil {
		return errors.Join(err, statusErr)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MASTER KEY\tVERSION\tSINCE\tSTATE\tWRAPS\tUSABLE HERE")
	for _, m := range list {
		usable := "yes"
		if m.Usable != nil {
			usable = "no: " + m.Usable.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", m.URI, m.Version, m.CreatedAt.Format(time.RFC3339), masterState(m), m.DataKeys, usable)
	}
	return errors.Join(w.Flush(), err)
}

func masterState(m custody.MasterStatus) string {
	switch {
	case m.Current:
		return "current"
	case m.RetiredAt != nil:
		return "retired"
	}
	return "superseded"
}

// Run is keyward master rotate.
func (c *masterRotateCmd) Run(ctx context.Context, p *program) error {
	d, masters, done, err := p.openMasterDB(ctx)
	if err != nil {
		return err
	}
	defer done()
	check := func(ctx context.Context, uri, version string) error {
		return checkOpenable(ctx, d, c.To != "", uri, version)
	}
	if c.Force {
		check = nil
	}
	bar := p.newProgress("data keys", -1)
	r, err := masters.RotateMaster(ctx, localOperator(), c.To, custody.RewrapOptions{
		FullSpeed: c.FullSpeed, CheckVersion: check,
		Progress: func(done, total int64) { bar.set(int(done), int(total)) },
	})
	bar.done()
	if errors.Is(err, seal.ErrReadOnly) || errors.As(err, new(*missingVersionError)) {
		return err // its text has the advice
	}
	if err != nil {
		return fmt.Errorf("%w\n  nothing is lost: run it again to continue", masterKeyError(err))
	}
	if r.Resumed {
		fmt.Fprintln(p.stdout, "An earlier rotation was finished.")
	}
	fmt.Fprintf(p.stdout, "%s %s wrapped by version %s of %s.\n", plural.Count(r.Rewrapped, "data key"), plural.Verb(r.Rewrapped, "is", "are"), r.Current.Version, r.Current.URI)
	for _, m := range r.Retired {
		fmt.Fprintf(p.stdout, "Version %s of %s no longer wraps a data key; keyward master prune removes it, but backups from before today need it.\n", m.Version, m.URI)
	}
	if c.To != "" {
		fmt.Fprintln(p.stdout, "Set KEYWARD_MASTER_KEY to the new one at the next start.")
	}
	return nil
}

// Run is keyward master retire. A rotation does the same at its end.
func (c *masterRetireCmd) Run(ctx context.Context, p *program) error {
	masters, done, err := p.openMaster(ctx)
	if err != nil {
		return err
	}
	defer done()
	k, err := masters.RetireMaster(ctx, c.URI, c.Version)
	if wraps := (*custody.WrapsError)(nil); errors.As(err, &wraps) && !wraps.Current {
		return fmt.Errorf("%w\n  keyward master rotate moves %s to the current one", err, plural.Verb(wraps.DataKeys, "it", "them"))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "Version %s of %s wraps no data key and is retired.\n", k.Version, k.URI)
	return err
}

// Run is keyward master prune.
func (masterPruneCmd) Run(ctx context.Context, p *program) error {
	masters, done, err := p.openMaster(ctx)
	if err != nil {
		return err
	}
	defer done()
	removed, err := masters.PruneMaster(ctx)
	if err != nil {
		return err
	}
	if err := p.printKept(ctx, masters); err != nil {
		return err
	}
	if len(removed) == 0 {
		_, err = fmt.Fprintln(p.stdout, "Nothing to remove.")
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "Removed: %s. Keep copies as long as the database backups that need them.\n", strings.Join(removed, ", "))
	return err
}

// printKept lists the old versions that still wrap data keys.
func (p *program) printKept(ctx context.Context, masters *custody.Custody) error {
	list, err := masters.Status(ctx)
	for _, m := range list {
		if !m.Current && m.DataKeys > 0 {
			fmt.Fprintf(p.stdout, "Version %s of %s still wraps %s and stays; keyward master rotate moves %s.\n", m.Version, m.URI,
				plural.Count(m.DataKeys, "data key"), plural.Verb(m.DataKeys, "it", "them"))
		}
	}
	return err
}

// openMaster opens the database and the master key; the caller calls done. With
// custody.ErrWrongMasterKey the returned custody can still report its status.
func (p *program) openMaster(ctx context.Context) (_ *custody.Custody, done func(), err error) {
	_, c, done, err := p.openMasterDB(ctx)
	return c, done, err
}

// openMasterDB is openMaster and returns the database too.
func (p *program) openMasterDB(ctx context.Context) (_ *db.DB, _ *custody.Custody, done func(), err error) {
	if _, err := p.masterURI(); err != nil {
		return nil, nil, nil, err
	}
	d, err := p.openDB(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := requireSchema(ctx, d); err != nil {
		d.Close()
		return nil, nil, nil, err
	}
	c, err := p.openCustody(ctx, d)
	if err != nil && !errors.Is(err, custody.ErrWrongMasterKey) {
		d.Close()
		return nil, nil, nil, err
	}
	return d, c, d.Close, err
}

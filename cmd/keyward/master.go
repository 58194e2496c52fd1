package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

type masterCmd struct {
	Init   masterInitCmd   `cmd:"" help:"Create the one that KEYWARD_MASTER_KEY names, unless it is there: it is never overwritten."`
	Status masterStatusCmd `cmd:"" help:"See which version wraps what."`
	Rotate masterRotateCmd `cmd:"" help:"Wrap all data keys under a new version, or under another master key, while everything runs."`
	Retire masterRetireCmd `cmd:"" help:"Take a version out of use; refused while it wraps anything."`
	Prune  masterPruneCmd  `cmd:"" help:"Remove the versions that wrap nothing any more."`
}

type (
	masterInitCmd   struct{}
	masterStatusCmd struct{}
	masterRotateCmd struct {
		To        string `name:"to" placeholder:"URI" help:"The master key to move to. Default: a new version of the present one."`
		FullSpeed bool   `name:"full-speed" help:"Let requests wait for it: for a master key that is in wrong hands."`
	}
	masterRetireCmd struct {
		Version string `arg:"" help:"As keyward master status lists it."`
		URI     string `name:"uri" placeholder:"URI" help:"Where it is, if several places have such a version."`
	}
	masterPruneCmd struct{}
)

// Run is keyward master init. That the key is there already is no failure, so
// that it can be run at every start.
func (masterInitCmd) Run(ctx context.Context, p *program) error {
	uri, err := p.masterURI()
	if err != nil {
		return err
	}
	ring, err := seal.Init(ctx, uri)
	if err == nil {
		_, err = fmt.Fprintf(p.stdout, "Created %s.\nWithout it nothing that Keyward keeps can be opened: make a backup now, and keep it apart from the database's.\n", seal.Redact(ring.URI()))
		return err
	}
	if !errors.Is(err, seal.ErrExists) {
		return masterKeyError(err)
	}
	if ring, err = seal.Open(ctx, uri); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s is there already and was left as it is.\n", seal.Redact(ring.URI()))
	return err
}

// Run is keyward master status. It also answers with the wrong master key,
// and fails then.
func (masterStatusCmd) Run(ctx context.Context, p *program) error {
	keeper, done, err := p.custody(ctx)
	if err != nil && !errors.Is(err, custody.ErrWrongMasterKey) {
		return err
	}
	defer done()
	list, statusErr := keeper.Status(ctx)
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
	keeper, done, err := p.custody(ctx)
	if err != nil {
		return err
	}
	defer done()
	bar := p.progress("data keys", -1)
	r, err := keeper.RotateMaster(ctx, operator(), c.To, custody.RewrapOptions{
		FullSpeed: c.FullSpeed,
		Progress:  func(done, total int64) { bar.set(int(done), int(total)) },
	})
	bar.done()
	if errors.Is(err, seal.ErrReadOnly) {
		return err // it says what to do instead
	}
	if err != nil {
		return fmt.Errorf("%w\n  nothing is lost: run it again and it goes on where it stopped", masterKeyError(err))
	}
	if r.Resumed {
		fmt.Fprintln(p.stdout, "An earlier rotation was finished.")
	}
	fmt.Fprintf(p.stdout, "%d data keys are wrapped by version %s of %s.\n", r.Rewrapped, r.Current.Version, r.Current.URI)
	for _, m := range r.Retired {
		fmt.Fprintf(p.stdout, "Version %s of %s wraps nothing any more; keyward master prune removes it, but backups from before today need it.\n", m.Version, m.URI)
	}
	if c.To != "" {
		fmt.Fprintln(p.stdout, "Set KEYWARD_MASTER_KEY to the new one at the next start.")
	}
	return nil
}

// Run is keyward master retire. A rotation does the same at its end.
func (c *masterRetireCmd) Run(ctx context.Context, p *program) error {
	keeper, done, err := p.custody(ctx)
	if err != nil {
		return err
	}
	defer done()
	k, err := keeper.RetireMaster(ctx, c.URI, c.Version)
	if wraps := (*custody.WrapsError)(nil); errors.As(err, &wraps) && !wraps.Current {
		return fmt.Errorf("%w\n  keyward master rotate moves them to the current one", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "Version %s of %s wraps nothing and is retired.\n", k.Version, k.URI)
	return err
}

// Run is keyward master prune.
func (masterPruneCmd) Run(ctx context.Context, p *program) error {
	keeper, done, err := p.custody(ctx)
	if err != nil {
		return err
	}
	defer done()
	removed, err := keeper.PruneMaster(ctx)
	if err != nil {
		return err
	}
	if err := p.tellKept(ctx, keeper); err != nil {
		return err
	}
	if len(removed) == 0 {
		_, err = fmt.Fprintln(p.stdout, "Nothing to remove.")
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "Removed: %s. Keep copies for as long as backups of the database that need them.\n", strings.Join(removed, ", "))
	return err
}

// tellKept names the old versions that must stay, and why.
func (p *program) tellKept(ctx context.Context, keeper *custody.Custody) error {
	list, err := keeper.Status(ctx)
	for _, m := range list {
		if !m.Current && m.DataKeys > 0 {
			fmt.Fprintf(p.stdout, "Version %s of %s still wraps %d data keys and stays; keyward master rotate moves them.\n", m.Version, m.URI, m.DataKeys)
		}
	}
	return err
}

// custody opens the database and the master key. With ErrWrongMasterKey the
// custody can still be asked for its status.
func (p *program) custody(ctx context.Context) (_ *custody.Custody, done func(), err error) {
	if _, err := p.masterURI(); err != nil {
		return nil, nil, err
	}
	d, err := p.openDB(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := current(ctx, d); err != nil {
		d.Close()
		return nil, nil, err
	}
	c, err := p.openCustody(ctx, d)
	if err != nil && !errors.Is(err, custody.ErrWrongMasterKey) {
		d.Close()
		return nil, nil, err
	}
	return c, d.Close, err
}

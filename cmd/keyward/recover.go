package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

type recoverCmd struct {
	Checkpoint string   `name:"checkpoint" placeholder:"FILE|URI" help:"Check the restored histories against this checkpoint, as keyward audit checkpoint or KEYWARD_CHECKPOINTS wrote it; s3://bucket/prefix/name for one in a bucket."`
	JWKS       string   `name:"jwks" placeholder:"FILE|URL" help:"Verify the checkpoint with these platform keys, s3://bucket/prefix/name for those in a bucket. Default: those of the restored database."`
	Revoke     bool     `name:"revoke" help:"Revoke what may have come back to life: the keys and API keys of each tenant whose history does not have the checkpoint's event."`
	History    []string `name:"history" sep:"none" placeholder:"FILE" help:"Read from this copy of histories, as keyward audit export wrote it, which keys and credentials these are, and revoke no others; repeat for further files, the earlier first."`
}

// Run is keyward recover. It returns an error if a tenant's history does not agree with
// the checkpoint and nothing was revoked.
func (c *recoverCmd) Run(ctx context.Context, p *program) error {
	if c.Checkpoint == "" && (c.Revoke || c.JWKS != "" || c.History != nil) {
		return &usageError{"--revoke, --history and --jwks need --checkpoint: only a checkpoint tells what the restored database lacks"}
	}
	if err := p.needDatabase(); err != nil {
		return err
	}
	if _, err := p.masterURI(); err != nil {
		return err
	}
	copies, err := readHistories(p, c.History)
	if err != nil {
		return err
	}
	file, remove, err := localCopy(ctx, c.Checkpoint)
	if err != nil {
		return err
	}
	defer remove()
	if err := c.mend(ctx, p); err != nil {
		return err
	}
	d, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := requireSchema(ctx, d); err != nil {
		return err
	}
	var kept *keptCheckpoint
	if c.Checkpoint != "" {
		if kept, err = c.openCheckpoint(ctx, d, file); err != nil {
			return err
		}
	}
	if err := c.beginEpoch(ctx, p, d); err != nil {
		return err
	}
	if kept == nil {
		p.printNote("A restore brings back what was revoked after the backup: compare the histories with a checkpoint, --checkpoint FILE.")
		return nil
	}
	return c.compare(ctx, p, d, kept, copies)
}

// mend restores the guards and the order of transactions.
func (c *recoverCmd) mend(ctx context.Context, p *program) error {
	done, err := db.MendGuards(ctx, p.cfg.listenURL)
	if err != nil {
		return fmt.Errorf("%w\n  use the login of a superuser, or the one that owns the schema and may create roles", err)
	}
	for _, statement := range done {
		fmt.Fprintln(p.stdout, statement)
	}
	fmt.Fprintf(p.stdout, "Roles, privileges, policies and triggers that were restored: %d.\n", len(done))
	skipped, err := db.SkipTransactions(ctx, p.cfg.listenURL, func(left uint64) {
		p.printNote("%s to skip, until this server is as far as the one before.", plural.Count(left, "transaction"))
	})
	if err != nil {
		return err
	}
	if skipped > 0 {
		fmt.Fprintf(p.stdout, "%s %s skipped, so that feeds and webhooks go on.\n", plural.Count(skipped, "transaction"), plural.Verb(skipped, "was", "were"))
	}
	return nil
}

// beginEpoch makes the cursors of gateways and event streams invalid, and ends the
// sessions of the console. It needs the master key: nobody believes a recovery that is
// recorded without it.
func (c *recoverCmd) beginEpoch(ctx context.Context, p *program, d *db.DB) error {
	custody, err := p.openCustody(ctx, d)
	if err != nil {
		return err
	}
	tenants := tenant.New(tenant.Config{DB: d, Now: utcNow, Authority: custody.Authority()})
	if err = tenants.BeginEpoch(ctx, localOperator()); err == nil {
		_, err = fmt.Fprintln(p.stdout, "Cursors of gateways and event streams are invalid now: their readers begin again. Console sessions ended.")
	}
	return err
}

// openCheckpoint verifies the checkpoint in a file with the keys of --jwks, or with those
// that the platform's tenant has or had according to the restored database.
func (c *recoverCmd) openCheckpoint(ctx context.Context, d *db.DB, file localFile) (*keptCheckpoint, error) {
	if c.JWKS != "" {
		set, err := readKeySet(ctx, c.JWKS)
		if err != nil {
			return nil, err
		}
		if history, is := payloadOf(set); is {
			set = history
		}
		return openCheckpoint(file, set)
	}
	set, err := restoredPlatformKeys(ctx, d)
	if err != nil {
		return nil, err
	}
	kept, err := openCheckpoint(file, set)
	if errors.Is(err, signing.ErrCheckpoint) {
		return nil, fmt.Errorf("%w\n  if the platform's key is newer than the backup: pass the JWK Set that was kept with the checkpoint, --jwks FILE", err)
	}
	return kept, err
}

// restoredPlatformKeys returns the platform's public keys in the database as a JWK Set.
func restoredPlatformKeys(ctx context.Context, d *db.DB) ([]byte, error) {
	var id uuid.UUID
	err := d.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		id, err = tx.LiveTenantID(ctx, tenant.PlatformSlug)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return nil, tenant.ErrNoPlatform
	}
	if err != nil {
		return nil, err
	}
	rows, err := d.PublicKeyHistory(ctx, id)
	if err != nil {
		return nil, err
	}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{[]json.RawMessage{}}
	for _, row := range rows {
		if row.RevokedAt == nil {
			set.Keys = append(set.Keys, json.RawMessage(row.PublicJWK))
		}
	}
	return json.Marshal(set)
}

// difference is a tenant whose history does not agree with the checkpoint.
type difference struct {
	leaf    signing.CheckpointLeaf
	headSeq int64
	lost    *lostEvents // nil: which events are missing is not known
}

// comparedAtOnce is how many tenants are compared in one statement.
const comparedAtOnce = 1000

// comparison collects the result of comparing all tenants with a checkpoint.
type comparison struct {
	p      *program
	d      *db.DB
	copies map[uuid.UUID]*historyCopy
	batch  []signing.CheckpointLeaf

	compared, lost, recovered int
	differing                 []difference
}

// compare compares the histories and, with --revoke, revokes.
func (c *recoverCmd) compare(ctx context.Context, p *program, d *db.DB, kept *keptCheckpoint, copies map[uuid.UUID]*historyCopy) error {
	cmp := &comparison{p: p, d: d, copies: copies}
	err := kept.eachLeaf(func(l signing.CheckpointLeaf) error {
		if cmp.batch = append(cmp.batch, l); len(cmp.batch) < comparedAtOnce {
			return nil
		}
		return cmp.flush(ctx)
	})
	if err == nil {
		err = cmp.flush(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s compared: %d %s from the checkpoint, %d %s recovered before, %d %s lost.\n", plural.Count(cmp.compared, "tenant"),
		len(cmp.differing), plural.Verb(len(cmp.differing), "differs", "differ"), cmp.recovered, plural.Verb(cmp.recovered, "was", "were"), cmp.lost, plural.Verb(cmp.lost, "is", "are"))
	switch {
	case len(cmp.differing) == 0:
		return nil
	case !c.Revoke:
		return fmt.Errorf("%s may have keys and API keys that were revoked: repeat with --revoke, which replaces %s", plural.Count(len(cmp.differing), "tenant"), cmp.replaces())
	}
	return p.revokeRevived(ctx, cmp.differing)
}

// flush compares the tenants of the batch.
func (c *comparison) flush(ctx context.Context) error {
	if len(c.batch) == 0 {
		return nil
	}
	byID := map[uuid.UUID]signing.CheckpointLeaf{}
	var (
		ids    []uuid.UUID
		seqs   []int64
		hashes []string
		rows   []db.HeadsAtCheckpointRow
	)
	for _, l := range c.batch {
		byID[l.TenantID] = l
		ids, seqs, hashes = append(ids, l.TenantID), append(seqs, l.Seq), append(hashes, l.Hash)
	}
	err := c.d.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.HeadsAtCheckpoint(ctx, ids, seqs, hashes)
		return err
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := c.add(ctx, byID[row.TenantID], row); err != nil {
			return err
		}
	}
	c.compared, c.batch = c.compared+len(c.batch), c.batch[:0]
	return nil
}

// add judges one tenant and prints what differs.
func (c *comparison) add(ctx context.Context, l signing.CheckpointLeaf, row db.HeadsAtCheckpointRow) error {
	say := func(what, format string, args ...any) {
		fmt.Fprintf(c.p.stdout, "%-9s  %s (%s): %s\n", what, l.Tenant, l.TenantID, fmt.Sprintf(format, args...))
	}
	switch {
	case row.Recovered:
		c.recovered++
	case row.HeadSeq == 0:
		c.lost++
		say("lost", "created after the backup; its keys are gone, and its tokens no longer verify")
	case fmt.Sprintf("%x", row.Hash) == l.Hash:
	case row.Status == string(tenant.Deleted):
		say("deleted", "its history ends at seq %d, the checkpoint is at %d; nothing of it can sign", row.HeadSeq, l.Seq)
	default:
		if row.HeadSeq < l.Seq {
			say("behind", "its history ends at seq %d, the checkpoint is at %d", row.HeadSeq, l.Seq)
		} else {
			say("rewritten", "the event at seq %d is not that of the checkpoint", l.Seq)
		}
		lost, err := c.findLost(ctx, l, row.HeadSeq)
		if err != nil {
			return err
		}
		c.differing = append(c.differing, difference{l, row.HeadSeq, lost})
	}
	return nil
}

// revokeRevived revokes the credentials and then the keys of each tenant. One that fails
// does not hold up the others. It can be repeated: a tenant is done when its history
// says so.
func (p *program) revokeRevived(ctx context.Context, tenants []difference) error {
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return err
	}
	defer a.close()
	by, failed := localOperator(), 0
	for _, t := range tenants {
		if err := a.recoverTenant(ctx, p, by, t); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			failed++
			fmt.Fprintf(p.stdout, "failed     %s (%s): %v\n", t.leaf.Tenant, t.leaf.TenantID, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s could not be recovered, so what came back to life there still works: suspend them, mend the cause, and repeat the command", failed, plural.Count(len(tenants), "tenant"))
	}
	p.printNote("Tell the tenants whose API keys were revoked (keyward api-key create makes new ones), and do again by hand what docs/recovery.md lists.")
	return nil
}

func (a *app) recoverTenant(ctx context.Context, p *program, by audit.By, t difference) error {
	restored, err := a.tenants.GetAny(ctx, t.leaf.TenantID)
	if err != nil {
		return err
	}
	ended, err := a.tenants.EndCredentials(ctx, by, restored, t.lost.credentials())
	if err != nil {
		return err
	}
	done, err := a.store.Recover(ctx, by, restored.ID, moves.Recovery{Seq: t.leaf.Seq, Hash: t.leaf.Hash, HeadSeq: t.headSeq, Lost: t.lost.keys()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "recovered  %s (%s): revoked %s, %s, %s and %s; activated %s\n", restored.Slug, restored.ID,
		plural.Count(len(done.Revoked), "key"), plural.Count(ended.APIKeys, "API key"), plural.Count(ended.WorkloadIdentities, "workload identity"),
		plural.Count(ended.Approvals, "approval"), plural.Count(len(done.Active), "new key"))
	return err
}

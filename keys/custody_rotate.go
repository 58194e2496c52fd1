package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// MasterStatus is one master key and what it still wraps.
type MasterStatus struct {
	ID        uuid.UUID
	URI       string // without credentials
	Version   string
	Current   bool
	CreatedAt time.Time
	RetiredAt *time.Time
	DataKeys  int64 // wrapped by it now
	// Usable is nil if this process can open it.
	Usable error
}

// MasterRotation is what a rotation of the master key did.
type MasterRotation struct {
	Current   MasterStatus
	Resumed   bool // an earlier rotation was finished, no new key was made
	Rewrapped int64
	Retired   []MasterStatus // wrap nothing any more and can be removed
}

// Status lists every master key the database knows, oldest first.
func (c *Custody) Status(ctx context.Context) ([]MasterStatus, error) {
	var (
		rows   []db.MasterKey
		counts []db.CountWrappedDataKeysRow
	)
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if rows, err = tx.ListMasterKeys(ctx); err == nil {
			counts, err = tx.CountWrappedDataKeys(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	wraps := map[uuid.UUID]int64{}
	for _, n := range counts {
		wraps[*n.MasterKeyID] = n.DataKeys
	}
	out := make([]MasterStatus, len(rows))
	for i, row := range rows {
		out[i] = c.status(ctx, row, wraps[row.ID])
	}
	return out, nil
}

func (c *Custody) status(ctx context.Context, row db.MasterKey, dataKeys int64) MasterStatus {
	s := MasterStatus{
		ID: row.ID, URI: seal.Redact(row.URI), Version: row.Version, Current: row.IsCurrent,
		CreatedAt: row.CreatedAt.UTC(), RetiredAt: utc(row.RetiredAt), DataKeys: dataKeys,
	}
	_, s.Usable = c.masterKey(ctx, row.ID)
	return s
}

// RotateMaster makes a new master key current, in the place the URI names or,
// if to is empty, as a new version where the current one is, and wraps every
// data key under it, online: signing goes on. A rotation that was interrupted
// is finished first, and is then all that is done. to is created if it is a
// file that does not exist. progress may be nil.
//
// A crash leaves at worst a version that nobody uses, or data keys under both
// master keys, each row saying which: run it again.
func (c *Custody) RotateMaster(ctx context.Context, by audit.By, to string, progress func(done, total int64)) (MasterRotation, error) {
	before, err := c.Status(ctx)
	if err != nil {
		return MasterRotation{}, err
	}
	out := MasterRotation{Resumed: unfinished(before)}
	if !out.Resumed {
		if err := c.succeed(ctx, to); err != nil {
			return out, err
		}
	}
	if out.Rewrapped, err = c.rewrapAll(ctx, by, progress); err != nil {
		return out, err
	}
	return out, c.retireOld(ctx, &out)
}

// unfinished reports whether data keys are left under a key that is not the
// current one.
func unfinished(keys []MasterStatus) bool {
	for _, k := range keys {
		if !k.Current && k.DataKeys > 0 {
			return true
		}
	}
	return false
}

// succeed brings in the next master key, vouched for by the current one.
func (c *Custody) succeed(ctx context.Context, to string) error {
	ring, version, err := c.successor(ctx, to)
	if err != nil {
		return err
	}
	row, err := describe(ctx, ring, version, c.cfg.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		old, err := tx.LockCurrentMasterKey(ctx)
		if err != nil {
			return err
		}
		voucher, err := c.masterKey(ctx, old)
		if err != nil {
			return err
		}
		row.EndorsedBy = &old
		row.Endorsement, err = voucher.Endorse(ctx, seal.Successor{ID: row.ID, URI: row.URI, Version: row.Version})
		if err != nil {
			return err
		}
		w := tx.Later()
		if _, err := w.SupersedeMasterKey(ctx, old); err != nil {
			return err
		}
		w.Expect(1)
		if err := w.InsertMasterKey(ctx, row); err != nil {
			return err
		}
		if err := c.announce(ctx, tx, w); err != nil {
			return err
		}
		return w.Send(ctx)
	})
	if db.Constraint(err) == "master_keys_version_once" {
		return fmt.Errorf("keys: version %s of %s has been a master key already", row.Version, seal.Redact(row.URI))
	}
	if err != nil {
		return err
	}
	return c.Refresh(ctx)
}

// successor makes the next version in place, or opens the new place.
func (c *Custody) successor(ctx context.Context, to string) (*seal.Ring, string, error) {
	c.mu.Lock()
	ring := c.ring
	c.mu.Unlock()
	if to == "" || to == ring.URI() {
		version, err := ring.AddVersion(ctx)
		return ring, version, err
	}
	next, err := seal.Open(ctx, to)
	if errors.Is(err, seal.ErrNoMasterKey) {
		next, err = seal.Init(ctx, to)
	}
	if err != nil {
		return nil, "", err
	}
	return next, next.Newest(), nil
}

// announce tells every replica to look which master key is current.
func (c *Custody) announce(ctx context.Context, tx *db.Tx, w *db.Writes) error {
	platform, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
	if err != nil {
		return nil //nolint:nilerr // no platform tenant yet, so no replica to tell
	}
	return w.NotifyChanges(ctx, []string{platform.String() + " " + tenant.PlatformSlug})
}

// rewrapAll moves every data key under the current master key, until a pass
// over all of them finds nothing left: tenants that are busy are skipped, and
// replicas that have not heard yet may still use the old one.
func (c *Custody) rewrapAll(ctx context.Context, by audit.By, progress func(done, total int64)) (done int64, err error) {
	for pass := 0; ; pass++ {
		keys, err := c.Status(ctx)
		if err != nil {
			return done, err
		}
		var left int64
		for _, k := range keys {
			if !k.Current {
				left += k.DataKeys
			}
		}
		if left == 0 {
			return done, nil
		}
		if pass > 0 {
			time.Sleep(min(time.Duration(pass)*50*time.Millisecond, time.Second))
		}
		total := done + left
		for _, k := range keys {
			if k.Current || k.DataKeys == 0 {
				continue
			}
			err := c.rewrapFrom(ctx, by, k.ID, func(n int64) {
				if done += n; progress != nil {
					progress(done, total)
				}
			})
			if err != nil {
				return done, err
			}
		}
	}
}

// rewrapFrom makes one pass over the data keys of one old master key.
func (c *Custody) rewrapFrom(ctx context.Context, by audit.By, old uuid.UUID, count func(int64)) error {
	var after uuid.UUID
	for ctx.Err() == nil {
		var batch []db.DataKeysWrappedByRow
		err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			batch, err = tx.DataKeysWrappedBy(ctx, &old, after, c.cfg.RewrapBatch)
			return err
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		n, err := c.rewrap(ctx, by, old, batch)
		if err != nil {
			return err
		}
		count(n)
		after = batch[len(batch)-1].TenantID
	}
	return ctx.Err()
}

// rewrap opens and wraps outside of locks, then replaces what is unchanged.
func (c *Custody) rewrap(ctx context.Context, by audit.By, old uuid.UUID, batch []db.DataKeysWrappedByRow) (n int64, err error) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	from, err := c.masterKey(ctx, old)
	if err != nil {
		return 0, err
	}
	to, err := c.masterKey(ctx, current)
	if err != nil {
		return 0, err
	}
	wrapped := make(map[uuid.UUID][]rewrapped, len(batch))
	var ids []uuid.UUID
	for _, row := range batch {
		key, err := from.UnwrapDataKey(ctx, row.TenantID, row.Version, row.Wrapped)
		if err != nil {
			return 0, fmt.Errorf("keys: data key %d of tenant %s: %w", row.Version, row.TenantID, err)
		}
		closed, err := to.WrapDataKey(ctx, row.TenantID, row.Version, key)
		key.Destroy()
		if err != nil {
			return 0, err
		}
		if wrapped[row.TenantID] == nil {
			ids = append(ids, row.TenantID)
		}
		wrapped[row.TenantID] = append(wrapped[row.TenantID], rewrapped{row.Version, closed})
	}
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = c.replace(ctx, tx, by, old, current, ids, wrapped)
		return err
	})
	return n, err
}

// rewrapped is one data key, closed under the new master key.
type rewrapped struct {
	version int32
	wrapped []byte
}

func (c *Custody) replace(ctx context.Context, tx *db.Tx, by audit.By, old, current uuid.UUID, ids []uuid.UUID, wrapped map[uuid.UUID][]rewrapped) (int64, error) {
	rows, err := tx.LockIdleTenants(ctx, ids)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	at := c.cfg.Now().UTC().Truncate(time.Microsecond)
	params := db.RewrapDataKeysParams{NewMasterKeyID: current, OldMasterKeyID: old, RewrappedAt: at}
	var ledgers []*ledger
	for _, row := range rows {
		l := newLedger(row, by, at)
		for _, k := range wrapped[row.ID] {
			params.TenantIds, params.Versions = append(params.TenantIds, row.ID), append(params.Versions, k.version)
			params.Wrappeds = append(params.Wrappeds, k.wrapped)
			l.note(audit.Event{Action: audit.DataKeyRewrapped}, map[string]any{"version": k.version, "master_key_id": current})
		}
		l.quiet = true
		ledgers = append(ledgers, l)
	}
	w := tx.Later()
	if _, err := w.RewrapDataKeys(ctx, params); err != nil {
		return 0, err
	}
	w.Expect(len(params.Versions))
	if err := new(statements).collect(ledgers).queue(ctx, w); err != nil {
		return 0, err
	}
	return int64(len(params.Versions)), w.Send(ctx)
}

// retireOld marks the master keys that wrap nothing any more.
func (c *Custody) retireOld(ctx context.Context, out *MasterRotation) error {
	keys, err := c.Status(ctx)
	if err != nil {
		return err
	}
	at := c.cfg.Now().UTC().Truncate(time.Microsecond)
	for _, k := range keys {
		if k.Current {
			out.Current = k
		}
		if k.Current || k.RetiredAt != nil {
			continue
		}
		err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
			_, err := tx.RetireMasterKey(ctx, &at, k.ID)
			return err
		})
		if db.Constraint(err) == "master_keys_still_wraps" {
			continue // a replica used it again: the next rotation finishes that
		}
		if err != nil {
			return err
		}
		k.RetiredAt = &at
		out.Retired = append(out.Retired, k)
	}
	return nil
}

// PruneMaster removes the versions from the configured place that the database
// has retired, and returns them. Backups from before their retirement can then
// no longer be opened: keep a copy of the file for as long as those are kept.
func (c *Custody) PruneMaster(ctx context.Context) (removed []string, err error) {
	rows, err := c.masterRows(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	ring := c.ring
	c.mu.Unlock()
	for _, row := range rows {
		if row.RetiredAt == nil || ring.URI() != row.URI {
			continue
		}
		switch err := ring.RemoveVersion(ctx, row.Version); {
		case err == nil:
			removed = append(removed, row.Version)
		case !errors.Is(err, seal.ErrUnknownVersion):
			return removed, err
		}
	}
	return removed, nil
}

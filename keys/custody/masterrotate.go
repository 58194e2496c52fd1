package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// MasterRotation is the result of a rotation of the master key.
type MasterRotation struct {
	Current   MasterStatus
	Resumed   bool // an earlier rotation was finished, no new key was made
	Rewrapped int64
	Retired   []MasterStatus // wrap nothing any more and can be removed
}

// RotateMaster makes a new master key current, in the place the URI names or,
// if to is empty, as a new version where the current one is, and wraps every
// data key under it, online: signing goes on. A rotation that was interrupted
// is finished first, and is then all that is done. to is created if it is a
// file that does not exist.
//
// A crash leaves at worst a version that nobody uses, or data keys under both
// master keys, each row saying which: run it again.
func (c *Custody) RotateMaster(ctx context.Context, by audit.By, to string, o RewrapOptions) (MasterRotation, error) {
	before, err := c.Status(ctx)
	if err != nil {
		return MasterRotation{}, err
	}
	out := MasterRotation{Resumed: hasStaleDataKeys(before)}
	if !out.Resumed {
		if err := c.addSuccessor(ctx, to, o.CheckVersion); err != nil {
			return out, err
		}
	}
	if out.Rewrapped, err = c.RewrapAll(ctx, by, o); err != nil {
		return out, err
	}
	return out, c.retireOld(ctx, &out)
}

// hasStaleDataKeys reports whether a master key other than the current one
// wraps data keys.
func hasStaleDataKeys(keys []MasterStatus) bool {
	for _, k := range keys {
		if !k.Current && k.DataKeys > 0 {
			return true
		}
	}
	return false
}

// addSuccessor makes the next master key current, endorsed by the previous one, unless
// check refuses it.
func (c *Custody) addSuccessor(ctx context.Context, to string, check func(ctx context.Context, uri, version string) error) error {
	ring, version, err := c.makeSuccessor(ctx, to)
	if err != nil {
		return err
	}
	if check != nil {
		if err := check(ctx, ring.URI(), version); err != nil {
			return err
		}
	}
	authority, err := c.authorityKey(ctx)
	if err != nil {
		return err
	}
	defer authority.Destroy()
	row, err := newMasterRow(ctx, ring, version, authority, c.cfg.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	for {
		if err := c.endorse(ctx, &row); err != nil {
			return err
		}
		err = c.insertSuccessor(ctx, row)
		if !errors.Is(err, errOtherPredecessor) {
			break
		}
		if err := c.Refresh(ctx); err != nil {
			return err
		}
	}
	if db.Constraint(err) == "master_keys_version_once" {
		return fmt.Errorf("keys: version %s of %s has been a master key already", row.Version, seal.Redact(row.URI))
	}
	if err != nil {
		return err
	}
	return c.Refresh(ctx)
}

// errOtherPredecessor means that another master key has become the current one since the
// endorsement was made.
var errOtherPredecessor = errors.New("keys: the current master key has changed")

// endorse lets the current master key vouch for the row of its successor. It may ask a
// KMS, and so is called without a transaction.
func (c *Custody) endorse(ctx context.Context, row *db.InsertMasterKeyParams) error {
	c.mu.Lock()
	old := c.current
	c.mu.Unlock()
	voucher, err := c.masterKey(ctx, old)
	if err != nil {
		return err
	}
	row.EndorsedBy = &old
	row.Endorsement, err = voucher.Endorse(ctx, seal.Successor{ID: row.ID, URI: row.URI, Version: row.Version})
	return err
}

// insertSuccessor makes an endorsed master key the current one. Errors:
// errOtherPredecessor.
func (c *Custody) insertSuccessor(ctx context.Context, row db.InsertMasterKeyParams) error {
	return c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		old, err := tx.LockCurrentMasterKey(ctx)
		if err != nil {
			return err
		}
		if old != *row.EndorsedBy {
			return errOtherPredecessor
		}
		w := tx.Later()
		if _, err := w.SupersedeMasterKey(ctx, old); err != nil {
			return err
		}
		w.Expect(1)
		if err := w.InsertMasterKey(ctx, row); err != nil {
			return err
		}
		if err := c.notifyReplicas(ctx, tx, w); err != nil {
			return err
		}
		return w.Send(ctx)
	})
}

// authorityKey unwraps the key that authenticates rows, to be wrapped by the next
// master key. The caller destroys it.
func (c *Custody) authorityKey(ctx context.Context) (*seal.DataKey, error) {
	c.mu.Lock()
	row := c.rows[c.current]
	c.mu.Unlock()
	m, err := c.openMaster(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	return m.UnwrapAuthorityKey(ctx, row.ID, row.Authority)
}

// OpenableVersions returns the versions of the configured master key that this process
// can open now, read anew; "*" for a key of a KMS, which has no versions to distribute.
func (c *Custody) OpenableVersions(ctx context.Context) []string {
	c.mu.Lock()
	ring := c.ring
	c.mu.Unlock()
	switch {
	case ring == nil:
		return []string{}
	case !ring.HoldsVersions():
		return []string{"*"}
	}
	if err := ring.Reload(ctx); err != nil {
		c.cfg.Log.Warn("master key not read anew", "error", err)
	}
	return ring.Versions()
}

// AddMaster adds a version to the current master key without using it, so that a
// file can be copied to every machine before RotateMaster wraps anything with it. If
// the newest version is unused, it is that one. It returns its name. Errors:
// seal.ErrReadOnly for a master key that is not a file.
func (c *Custody) AddMaster(ctx context.Context) (uri, version string, err error) {
	ring, err := c.currentRing(ctx)
	if err != nil {
		return "", "", err
	}
	version, err = c.unusedVersion(ctx, ring)
	return ring.URI(), version, err
}

// unusedVersion returns the newest version if it was never a master key, otherwise a
// new one. Errors: seal.ErrReadOnly for a key of a KMS, whose names are made when it
// is opened.
func (c *Custody) unusedVersion(ctx context.Context, ring *seal.Ring) (string, error) {
	if version := ring.Newest(); ring.HoldsVersions() && !c.isRegistered(ring.URI(), version) {
		return version, nil
	}
	return ring.AddVersion(ctx)
}

// makeSuccessor adds a version at the current master key's URI, or opens the
// URI to. It also adds a version there if the newest was a master key before,
// so that a rotation can return to a former URI.
func (c *Custody) makeSuccessor(ctx context.Context, to string) (*seal.Ring, string, error) {
	if to == "" {
		ring, err := c.currentRing(ctx)
		if err != nil {
			return nil, "", err
		}
		version, err := c.unusedVersion(ctx, ring)
		return ring, version, err
	}
	next, err := seal.Open(ctx, to)
	if errors.Is(err, seal.ErrNoMasterKey) {
		next, err = seal.Init(ctx, to)
	}
	if err != nil {
		return nil, "", err
	}
	version := next.Newest()
	if c.isRegistered(next.URI(), version) {
		version, err = next.AddVersion(ctx)
	}
	return next, version, err
}

// currentRing opens the URI of the current master key, which differs from the
// configured one after a rotation to another URI.
func (c *Custody) currentRing(ctx context.Context) (*seal.Ring, error) {
	c.mu.Lock()
	ring, row, opened := c.ring, c.rows[c.current], c.opened[c.current]
	c.mu.Unlock()
	if opened == nil || opened.URI() == ring.URI() {
		return ring, nil
	}
	return seal.Open(ctx, row.URI)
}

func (c *Custody) isRegistered(uri, version string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, row := range c.rows {
		if row.URI == uri && row.Version == version {
			return true
		}
	}
	return false
}

// notifyReplicas makes every replica read which master key is current.
func (c *Custody) notifyReplicas(ctx context.Context, tx *db.Tx, w *db.Writes) error {
	platform, err := tx.LiveTenantID(ctx, tenant.PlatformSlug)
	if err != nil {
		return nil //nolint:nilerr // without the platform tenant there is no replica to notify
	}
	return w.NotifyChanges(ctx, tenant.ChangePayloads(platform, tenant.PlatformSlug))
}

// retireOld retires the master keys that wrap no data keys.
func (c *Custody) retireOld(ctx context.Context, out *MasterRotation) error {
	keys, err := c.Status(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Current {
			out.Current = k
		}
		if k.Current || k.RetiredAt != nil {
			continue
		}
		err := c.retireKey(ctx, &k)
		if wraps := (*WrapsError)(nil); errors.As(err, &wraps) {
			continue // a replica used it again: the next rotation retires it
		}
		if err != nil {
			return err
		}
		out.Retired = append(out.Retired, k)
	}
	return nil
}

// PruneMaster removes the versions that the database has retired from the
// configured URI, and returns them. Backups from before their retirement can
// then not be opened: keep a copy of the file for as long as those are kept.
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

// WrapsError is returned for a master key that cannot be retired because it is
// in use.
type WrapsError struct {
	URI      string // without credentials
	Version  string
	Current  bool
	DataKeys int64 // that it wraps
}

// Error names the master key and counts the data keys under it.
func (e *WrapsError) Error() string {
	if e.Current {
		return fmt.Sprintf("keys: version %s of %s is the current master key and wraps %s", e.Version, e.URI, plural.Count(e.DataKeys, "data key"))
	}
	return fmt.Sprintf("keys: version %s of %s still wraps %s", e.Version, e.URI, plural.Count(e.DataKeys, "data key"))
}

// RetireMaster retires a version of a master key for good: nothing can be
// wrapped under it again. uri may be empty if only one URI has the version.
// Errors: *WrapsError while it wraps data keys, seal.ErrUnknownVersion,
// db.ErrUnavailable.
func (c *Custody) RetireMaster(ctx context.Context, uri, version string) (MasterStatus, error) {
	keys, err := c.Status(ctx)
	if err != nil {
		return MasterStatus{}, err
	}
	var found []MasterStatus
	for _, k := range keys {
		if k.Version == version && (uri == "" || k.URI == seal.Redact(uri)) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 0:
		return MasterStatus{}, fmt.Errorf("keys: %w: %q", seal.ErrUnknownVersion, version)
	case len(found) > 1:
		return MasterStatus{}, fmt.Errorf("keys: version %s is in %s and in %s: say which", version, found[0].URI, found[1].URI)
	case found[0].Current:
		return found[0], wrapsError(found[0])
	case found[0].RetiredAt != nil:
		return found[0], nil
	}
	return found[0], c.retireKey(ctx, &found[0])
}

func wrapsError(k MasterStatus) error {
	return &WrapsError{URI: k.URI, Version: k.Version, Current: k.Current, DataKeys: k.DataKeys}
}

// retireKey marks a master key as retired. The database refuses it if data keys
// still refer to the key.
func (c *Custody) retireKey(ctx context.Context, k *MasterStatus) error {
	at := c.cfg.Now().UTC().Truncate(time.Microsecond)
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.RetireMasterKey(ctx, &at, k.ID)
		return err
	})
	if db.Constraint(err) == "master_keys_still_wraps" {
		return c.recountWrapped(ctx, *k)
	}
	if err == nil {
		k.RetiredAt = &at
	}
	return err
}

// recountWrapped returns a *WrapsError with the present number of data keys,
// after the database refused to retire the key.
func (c *Custody) recountWrapped(ctx context.Context, k MasterStatus) error {
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		counts, err := tx.CountWrappedDataKeys(ctx)
		for _, n := range counts {
			if *n.MasterKeyID == k.ID {
				k.DataKeys = n.DataKeys
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return wrapsError(k)
}

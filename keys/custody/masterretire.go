package custody

import (
	"context"
	"fmt"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// WrapsError refuses to retire a master key that is in use.
type WrapsError struct {
	URI      string // without credentials
	Version  string
	Current  bool
	DataKeys int64 // that it wraps
}

// Error says how many data keys the master key still wraps.
func (e *WrapsError) Error() string {
	if e.Current {
		return fmt.Sprintf("keys: version %s of %s is the current master key and wraps %d data keys", e.Version, e.URI, e.DataKeys)
	}
	return fmt.Sprintf("keys: version %s of %s still wraps %d data keys", e.Version, e.URI, e.DataKeys)
}

// RetireMaster marks a version of a master key as one that nothing is wrapped
// by ever again; uri may be empty where only one place has such a version. A
// retired version stays retired. Errors: *WrapsError while it wraps anything,
// seal.ErrUnknownVersion, moves.ErrUnavailable.
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
		return found[0], wraps(found[0])
	case found[0].RetiredAt != nil:
		return found[0], nil
	}
	return found[0], c.retire(ctx, &found[0])
}

func wraps(k MasterStatus) error {
	return &WrapsError{URI: k.URI, Version: k.Version, Current: k.Current, DataKeys: k.DataKeys}
}

// retire asks the database, which is the one to know what refers to the key.
func (c *Custody) retire(ctx context.Context, k *MasterStatus) error {
	at := c.cfg.Now().UTC().Truncate(time.Microsecond)
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.RetireMasterKey(ctx, &at, k.ID)
		return err
	})
	if db.Constraint(err) == "master_keys_still_wraps" {
		return c.refusal(ctx, *k)
	}
	if err == nil {
		k.RetiredAt = &at
	}
	return err
}

// refusal counts again what the master key wraps: it was more than expected.
func (c *Custody) refusal(ctx context.Context, k MasterStatus) error {
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
	return wraps(k)
}

package custody

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// RewrapOptions configure a re-wrap. The zero value yields to requests and
// reports no progress.
type RewrapOptions struct {
	// FullSpeed disables throttling: about ten times as fast, but one request in a
	// hundred takes several times as long if PostgreSQL, the re-wrap and the server
	// share cores.
	FullSpeed bool
	// Progress, if not nil, is called after every batch.
	Progress func(done, total int64)
	// CheckVersion, if not nil, can refuse a new version of a master key before it wraps
	// anything.
	CheckVersion func(ctx context.Context, uri, version string) error
}

// RewrapAll wraps every data key under the current master key. It repeats until
// a pass finds no other key, because busy tenants are skipped and replicas
// without notifications may still use the old master key.
func (c *Custody) RewrapAll(ctx context.Context, by audit.By, o RewrapOptions) (done int64, err error) {
	progress, turns := o.Progress, c.newThrottle(o)
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
			if err := db.Pause(ctx, min(time.Duration(pass)*50*time.Millisecond, time.Second)); err != nil {
				return done, err
			}
		}
		total := done + left
		for _, k := range keys {
			if k.Current || k.DataKeys == 0 {
				continue
			}
			err := c.rewrapFrom(ctx, by, k.ID, turns, func(n int64) {
				if done += n; progress != nil && n > 0 {
					progress(done, total)
				}
			})
			if err != nil {
				return done, err
			}
		}
	}
}

// rewrapFrom makes one pass over the data keys of an old master key, several
// batches in parallel. No two batches share a tenant.
func (c *Custody) rewrapFrom(ctx context.Context, by audit.By, old uuid.UUID, turns *throttle, count func(int64)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.cfg.RewrapParallel)
	err := c.eachBatch(ctx, old, turns.batch, func(batch []db.DataKeysWrappedByRow) {
		group.Go(func() error {
			n, err := c.rewrapBatch(ctx, by, old, batch, turns)
			mu.Lock()
			defer mu.Unlock()
			count(n)
			return err
		})
	})
	if failed := group.Wait(); failed != nil {
		return failed
	}
	return err
}

// eachBatch calls do with batches of the data keys under a master key, in the
// order of tenants.
func (c *Custody) eachBatch(ctx context.Context, id uuid.UUID, size int32, do func([]db.DataKeysWrappedByRow)) error {
	var after uuid.UUID
	for ctx.Err() == nil {
		var batch []db.DataKeysWrappedByRow
		err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			batch, err = tx.DataKeysWrappedBy(ctx, &id, after, size)
			return err
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		do(batch)
		after = batch[len(batch)-1].TenantID
	}
	return ctx.Err()
}

// rewrapBatch unwraps and wraps a batch without locks, then replaces the rows
// that have not changed.
func (c *Custody) rewrapBatch(ctx context.Context, by audit.By, old uuid.UUID, batch []db.DataKeysWrappedByRow, turns *throttle) (n int64, err error) {
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
	err = turns.run(ctx, func() error {
		return c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			n, err = c.replaceWrapped(ctx, tx, by, old, current, ids, wrapped, turns.send)
			return err
		})
	})
	return n, err
}

// A re-wrap is a process of its own that cannot see requests, and has no
// deadline, so it yields by default: YieldBatch is the number of data keys in a
// transaction, yieldRestFactor how many times its duration it then sleeps.
const (
	YieldBatch      = 20
	yieldRestFactor = 3
)

// throttle schedules the transactions of a re-wrap. One that yields runs one
// small transaction at a time and sleeps after each; KMS calls still run in
// parallel, because they cost PostgreSQL nothing.
type throttle struct {
	batch int32
	slot  *semaphore.Weighted // nil: all at once, without rests
	send  func(*db.Writes, context.Context) error
	rest  func(context.Context, time.Duration)
}

func (c *Custody) newThrottle(o RewrapOptions) *throttle {
	if o.FullSpeed {
		return &throttle{batch: c.cfg.RewrapBatch, send: (*db.Writes).Send}
	}
	return &throttle{batch: min(YieldBatch, c.cfg.RewrapBatch), slot: semaphore.NewWeighted(1), send: (*db.Writes).SendEach, rest: c.cfg.Rest}
}

// run waits for a slot, calls do, and then sleeps as long as the throttle asks.
func (t *throttle) run(ctx context.Context, do func() error) error {
	if t.slot == nil {
		return do()
	}
	if err := t.slot.Acquire(ctx, 1); err != nil {
		return err
	}
	defer t.slot.Release(1)
	began := time.Now()
	err := do()
	if err == nil {
		t.rest(ctx, yieldRestFactor*time.Since(began))
	}
	return err
}

// rewrapped is a data key that is wrapped under the new master key.
type rewrapped struct {
	version int32
	wrapped []byte
}

// replaceWrapped stores re-wrapped data keys of tenants that are not locked,
// with one audit event each, and returns their number.
func (c *Custody) replaceWrapped(ctx context.Context, tx *db.Tx, by audit.By, old, current uuid.UUID, ids []uuid.UUID, wrapped map[uuid.UUID][]rewrapped, send func(*db.Writes, context.Context) error) (int64, error) {
	rows, err := tx.LockIdleTenants(ctx, ids)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if err := dropMoved(ctx, tx, old, ids, wrapped); err != nil {
		return 0, err
	}
	now := c.cfg.Now() // under the locks
	params := db.RewrapDataKeysParams{NewMasterKeyID: current, OldMasterKeyID: old, RewrappedAt: now.UTC().Truncate(time.Microsecond)}
	var history audit.Write
	for _, row := range rows {
		if len(wrapped[row.ID]) == 0 {
			continue
		}
		var events []audit.Event
		head := tenant.TenantRow(row).Head()
		at := head.TimeOfEffect(now)
		for _, k := range wrapped[row.ID] {
			params.TenantIds, params.Versions = append(params.TenantIds, row.ID), append(params.Versions, k.version)
			params.Wrappeds = append(params.Wrappeds, k.wrapped)
			e := by.Event(at, audit.DataKeyRewrapped)
			e.Details = audit.Details(by.Details(map[string]any{"version": k.version, "master_key_id": current}))
			events = append(events, e)
		}
		history.MoveHead(head, history.Chain(head, events))
	}
	if len(params.Versions) == 0 {
		return 0, nil
	}
	w := tx.Later()
	if _, err := w.RewrapDataKeys(ctx, params); err != nil {
		return 0, err
	}
	w.Expect(len(params.Versions))
	if err := w.AppendAudit(ctx, db.MoveAuditHeadsParams(history.Heads), db.InsertAuditEventsParams(history.Events), nil); err != nil {
		return 0, err
	}
	return int64(len(params.Versions)), send(w, ctx)
}

// dropMoved removes data keys from wrapped that were destroyed or re-wrapped
// since they were read.
func dropMoved(ctx context.Context, tx *db.Tx, old uuid.UUID, ids []uuid.UUID, wrapped map[uuid.UUID][]rewrapped) error {
	rows, err := tx.StillWrappedBy(ctx, &old, ids)
	if err != nil {
		return err
	}
	still := make(map[dataKeyName]bool, len(rows))
	for _, row := range rows {
		still[dataKeyName{row.TenantID, row.Version}] = true
	}
	for id, list := range wrapped {
		wrapped[id] = slices.DeleteFunc(list, func(k rewrapped) bool { return !still[dataKeyName{id, k.version}] })
	}
	return nil
}

package custody

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// RewrapOptions say how data keys are wrapped anew; the zero value lets requests
// go first and tells nobody.
type RewrapOptions struct {
	// FullSpeed has it make no way for requests: some ten times as fast, and one
	// request in a hundred waits several times as long where PostgreSQL, the
	// re-wrap and what answers requests share cores.
	FullSpeed bool
	// Progress is told of every step; it may be nil.
	Progress func(done, total int64)
}

// RewrapAll moves every data key under the current master key, until a pass
// over all of them finds nothing left: tenants that are busy are skipped, and
// replicas that have not heard yet may still use the old one.
func (c *Custody) RewrapAll(ctx context.Context, by audit.By, o RewrapOptions) (done int64, err error) {
	progress, turns := o.Progress, c.turns(o)
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

// rewrapFrom makes one pass over the data keys of one old master key, several
// batches at a time: no two of them have a tenant in common.
func (c *Custody) rewrapFrom(ctx context.Context, by audit.By, old uuid.UUID, turns *turns, count func(int64)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.cfg.RewrapParallel)
	err := c.eachBatch(ctx, old, turns.batch, func(batch []db.DataKeysWrappedByRow) {
		group.Go(func() error {
			n, err := c.rewrap(ctx, by, old, batch, turns)
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

// eachBatch reads what one master key wraps, in the order of the tenants.
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

// rewrap opens and wraps outside of locks, then, when it is its turn, replaces
// what is unchanged.
func (c *Custody) rewrap(ctx context.Context, by audit.By, old uuid.UUID, batch []db.DataKeysWrappedByRow, turns *turns) (n int64, err error) {
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
	err = turns.take(ctx, func() error {
		return c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			n, err = c.replace(ctx, tx, by, old, current, ids, wrapped, turns.send)
			return err
		})
	})
	return n, err
}

// A re-wrap cannot know who asks, for it is a process of its own, and is never
// late: it makes way always, unless told otherwise. It has so many data keys in
// a transaction, and rests so many times as long as that took.
const (
	YieldBatch    = 20
	wayRewrapRest = 3
)

// turns are taken by the transactions of a re-wrap. If it makes way, there is one
// at a time, of few data keys, and a rest after each; a KMS is still asked about
// several batches at once, for that costs PostgreSQL nothing.
type turns struct {
	batch int32
	lane  *semaphore.Weighted // nil: all at once, without rests
	send  func(*db.Writes, context.Context) error
	rest  func(context.Context, time.Duration)
}

func (c *Custody) turns(o RewrapOptions) *turns {
	if o.FullSpeed {
		return &turns{batch: c.cfg.RewrapBatch, send: (*db.Writes).Send}
	}
	return &turns{batch: min(YieldBatch, c.cfg.RewrapBatch), lane: semaphore.NewWeighted(1), send: (*db.Writes).SendEach, rest: c.cfg.Rest}
}

func (t *turns) take(ctx context.Context, do func() error) error {
	if t.lane == nil {
		return do()
	}
	if err := t.lane.Acquire(ctx, 1); err != nil {
		return err
	}
	defer t.lane.Release(1)
	began := time.Now()
	err := do()
	if err == nil {
		t.rest(ctx, wayRewrapRest*time.Since(began))
	}
	return err
}

// rewrapped is one data key, closed under the new master key.
type rewrapped struct {
	version int32
	wrapped []byte
}

func (c *Custody) replace(ctx context.Context, tx *db.Tx, by audit.By, old, current uuid.UUID, ids []uuid.UUID, wrapped map[uuid.UUID][]rewrapped, send func(*db.Writes, context.Context) error) (int64, error) {
	rows, err := tx.LockIdleTenants(ctx, ids)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if err := leaveMoved(ctx, tx, old, ids, wrapped); err != nil {
		return 0, err
	}
	at := c.cfg.Now().UTC().Truncate(time.Microsecond)
	params := db.RewrapDataKeysParams{NewMasterKeyID: current, OldMasterKeyID: old, RewrappedAt: at}
	var history audit.Write
	for _, row := range rows {
		if len(wrapped[row.ID]) == 0 {
			continue
		}
		var events []audit.Event
		for _, k := range wrapped[row.ID] {
			params.TenantIds, params.Versions = append(params.TenantIds, row.ID), append(params.Versions, k.version)
			params.Wrappeds = append(params.Wrappeds, k.wrapped)
			e := by.Event(at, audit.DataKeyRewrapped)
			e.Details = audit.Details(by.Details(map[string]any{"version": k.version, "master_key_id": current}))
			events = append(events, e)
		}
		head := tenant.TenantRow(row).Head()
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

// leaveMoved drops the data keys that somebody has destroyed, or moved, since
// they were read.
func leaveMoved(ctx context.Context, tx *db.Tx, old uuid.UUID, ids []uuid.UUID, wrapped map[uuid.UUID][]rewrapped) error {
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

package moves

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Done says what was done of the work that was due.
type Done struct {
	Tenants int       // looked at
	Rotated int       // standby keys that became active
	Created int       // keys that entered
	Expired int       // keys that left the JWKS
	Purged  int       // keys whose public part was forgotten
	Failed  int       // tenants put off because they cannot be done now
	Next    time.Time // when to look again; zero: nothing is planned
}

// RunDue does what is due for at most limit policies, in batches of
// Config.DueBatch tenants, of which Config.DueParallel are under way at a time:
// while PostgreSQL writes one, the keys of another are made. While many
// ask (Config.Asked), batches are small and far between. Each takes the steps
//
//  1. read what is due and plan it, without locks
//  2. make and seal the keys the plan wants, outside any transaction
//  3. in one transaction: lock the tenants nobody else has in hand, read and
//     plan again where they have changed, do what is still wanted
//  4. throw away the keys that are not
//
// No two batches have a tenant in common. Two workers at once share the work or
// waste it, they cannot spoil it. A crash before a commit leaves that batch due;
// so does an error, which ends the others where they are.
func (s *Store) RunDue(ctx context.Context, by audit.By, limit int) (Done, error) {
	at := s.now()
	due, err := s.due(ctx, at, limit)
	if err != nil {
		return Done{}, err
	}
	if len(due) == 0 {
		next, err := s.nextDue(ctx)
		return Done{Next: next}, err
	}
	done, err := s.inBatches(ctx, by, at, due)
	if err != nil {
		return Done{}, err
	}
	done.Next, err = s.nextDue(ctx)
	return done, err
}

// inBatches has as many lanes as batches may be under way. One that makes way for
// requests takes them all, until it has rested.
func (s *Store) inBatches(ctx context.Context, by audit.By, at time.Time, due []uuid.UUID) (sum Done, err error) {
	var mu sync.Mutex
	all := int64(s.cfg.DueParallel)
	lanes := semaphore.NewWeighted(all)
	group, working := errgroup.WithContext(ctx)
	for len(due) > 0 && lanes.Acquire(working, 1) == nil {
		size, taken, way := s.cfg.DueBatch, int64(1), s.makeWay()
		if way {
			if lanes.Acquire(working, all-1) != nil {
				break
			}
			size, taken = min(wayBatch, size), all
		}
		tenants := due[:min(size, len(due))]
		due = due[len(tenants):]
		group.Go(func() error {
			defer lanes.Release(taken)
			done, busy, err := s.batch(working, by, at, tenants, way)
			mu.Lock()
			sum.add(done)
			mu.Unlock()
			if way && err == nil {
				s.rest(working, busy)
			}
			return err
		})
	}
	return sum, cmp.Or(group.Wait(), ctx.Err())
}

// batch does what is due for some tenants, and says for how long that kept the
// database busy.
func (s *Store) batch(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, way bool) (done Done, busy time.Duration, err error) {
	began := time.Now()
	w, err := s.prepare(ctx, by, at, tenants, way)
	if err != nil {
		return Done{}, 0, err
	}
	done, err = s.settle(ctx, by, w, w.tenants)
	return done, time.Since(began) - w.making, err
}

// Backlog counts the policies that are due and not done, up to 10,000.
func (s *Store) Backlog(ctx context.Context) (n int64, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountDuePolicies(ctx, s.now())
		return err
	})
	return n, err
}

// due lists the tenants with due policies, each once.
func (s *Store) due(ctx context.Context, at time.Time, limit int) (ids []uuid.UUID, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.DuePolicies(ctx, at, int32(limit))
		for _, row := range rows {
			ids = append(ids, row.TenantID)
		}
		return err
	})
	slices.SortFunc(ids, compareUUIDs)
	return slices.Compact(ids), err
}

func compareUUIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

func (s *Store) nextDue(ctx context.Context) (next time.Time, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		at, err := tx.NextDueAt(ctx)
		if at != nil {
			next = at.UTC()
		}
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		return err
	})
	return next, err
}

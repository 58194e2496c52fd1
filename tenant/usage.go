package tenant

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// usage collects the last use of credentials until the next flush. It holds only
// existing credentials, so their number bounds it.
type usage[K comparable] struct {
	mu sync.Mutex
	at map[K]time.Time
}

func (u *usage[K]) note(k K, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[K]time.Time{}
	}
	if at.After(u.at[k]) {
		u.at[k] = at
	}
}

func (u *usage[K]) take() map[K]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// flush calls write with what was noted, if anything was. After an error the times are kept
// for the next flush, except if they are wrong.
func (u *usage[K]) flush(write func(keys []K, ats []time.Time) error) error {
	used := u.take()
	if len(used) == 0 {
		return nil
	}
	keys := slices.Collect(maps.Keys(used))
	ats := make([]time.Time, len(keys))
	for i, k := range keys {
		ats[i] = used[k]
	}
	err := write(keys, ats)
	if err != nil && !errors.Is(err, ErrClock) {
		for k, at := range used {
			u.note(k, at)
		}
	}
	return wrapError("flush last use", err)
}

// workloadKey identifies a workload identity.
type workloadKey struct{ tenantID, id uuid.UUID }

// noteUse records the use of an API key, unless this process does not know the time.
func (s *Store) noteUse(id uuid.UUID, at time.Time) {
	if s.db.CheckClock() == nil {
		s.used.note(id, at)
	}
}

// NoteWorkload records that a token of a workload identity signed in, unless this process
// does not know the time. It is stored by FlushLastUsed.
func (s *Store) NoteWorkload(w WorkloadIdentity) {
	if s.db.CheckClock() == nil {
		s.usedWorkloads.note(workloadKey{w.TenantID, w.ID}, s.now())
	}
}

// FlushLastUsed stores the last use of credentials, in one statement for each kind. After
// an error the times are kept for the next flush; a crash loses them. Errors:
// ErrUnavailable.
func (s *Store) FlushLastUsed(ctx context.Context) error {
	return errors.Join(
		s.used.flush(func(ids []uuid.UUID, ats []time.Time) error {
			return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
				if err := tx.CheckClock(); err != nil {
					return err
				}
				return tx.TouchAPIKeys(ctx, ids, ats)
			})
		}),
		s.usedWorkloads.flush(func(keys []workloadKey, ats []time.Time) error {
			tenantIDs, ids := make([]uuid.UUID, len(keys)), make([]uuid.UUID, len(keys))
			for i, k := range keys {
				tenantIDs[i], ids[i] = k.tenantID, k.id
			}
			return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
				if err := tx.CheckClock(); err != nil {
					return err
				}
				return tx.TouchWorkloadIdentities(ctx, tenantIDs, ids, ats)
			})
		}),
	)
}

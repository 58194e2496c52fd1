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
type usage struct {
	mu sync.Mutex
	at map[uuid.UUID]time.Time
}

func (u *usage) note(id uuid.UUID, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[uuid.UUID]time.Time{}
	}
	if at.After(u.at[id]) {
		u.at[id] = at
	}
}

func (u *usage) take() map[uuid.UUID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// noteUse records the use of a credential, unless this process does not know the time.
func (s *Store) noteUse(id uuid.UUID, at time.Time) {
	if s.db.CheckClock() == nil {
		s.used.note(id, at)
	}
}

// FlushLastUsed stores the last use of credentials in one statement. After an error
// the times are kept for the next flush; a crash loses them. Errors: ErrUnavailable.
func (s *Store) FlushLastUsed(ctx context.Context) error {
	used := s.used.take()
	if len(used) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(used))
	ats := make([]time.Time, len(ids))
	for i, id := range ids {
		ats[i] = used[id]
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.CheckClock(); err != nil {
			return err
		}
		return tx.TouchAPIKeys(ctx, ids, ats)
	})
	if errors.Is(err, ErrClock) {
		return wrapError("flush last use", err) // dropped: the times are wrong
	}
	if err != nil {
		for id, at := range used {
			s.used.note(id, at)
		}
	}
	return wrapError("flush last use", err)
}

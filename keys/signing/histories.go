package signing

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// histories are the signed key histories that are served from memory, so that
// nobody can make Keyward sign by asking: one signature per tenant in
// [HistoryFor] and for each change, however many ask, and few at a time.
type histories struct {
	signed  *otter.Cache[uuid.UUID, *History]
	flights singleflight.Group
	turn    chan struct{}
}

const (
	historyBytes   = 64 << 20        // of histories in memory
	historySigners = 4               // at a time
	historyTime    = 5 * time.Second // for one
)

func newHistories() *histories {
	return &histories{
		turn: make(chan struct{}, historySigners),
		signed: otter.Must(&otter.Options[uuid.UUID, *History]{
			MaximumWeight: historyBytes,
			Weigher:       func(_ uuid.UUID, h *History) uint32 { return uint32(512 + len(h.JWT)) },
		}),
	}
}

// History returns the signed key history of the tenant of a snapshot that is
// as old as stale. While PostgreSQL is away one that was signed before is
// served; old is then how old it may be, as with [snapshot.Cache.Get]. Errors:
// tenant.ErrNotFound, ErrNoActiveKey, moves.ErrUnavailable.
func (s *Signer) History(ctx context.Context, snap *snapshot.Snapshot, stale time.Duration) (h *History, old time.Duration, err error) {
	known, cached := s.histories.signed.GetIfPresent(snap.TenantID)
	age := time.Duration(0)
	if cached {
		if age = s.cfg.Now().Sub(known.signedAt); known.version == snap.Version && age < HistoryFor {
			return known, stale, nil
		}
	}
	h, err = s.historyOf(ctx, snap)
	if cached && errors.Is(err, db.ErrUnavailable) && age < s.cfg.Snapshots.MaxStale() {
		return known, max(stale, age, time.Second), nil
	}
	return h, stale, err
}

// historyOf signs once for everybody who asks meanwhile. It goes on when the
// one who asked first goes away.
func (s *Signer) historyOf(ctx context.Context, snap *snapshot.Snapshot) (*History, error) {
	version := snap.TenantID.String() + " " + strconv.FormatInt(snap.Version, 10) // what is read for an earlier one may be old
	done := s.histories.flights.DoChan(version, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyTime)
		defer cancel()
		select {
		case s.histories.turn <- struct{}{}:
			defer func() { <-s.histories.turn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h, err := s.signHistory(ctx, snap)
		if err == nil {
			s.histories.signed.Set(snap.TenantID, h)
		}
		return h, err
	})
	select {
	case r := <-done:
		h, _ := r.Val.(*History)
		return h, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

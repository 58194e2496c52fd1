package moves

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// Preview is what a rotation by hand would do if it were done now. Nothing has
// changed.
type Preview struct {
	Active           keys.Key  // the standby of today
	Deprecated       *keys.Key // the active key of today
	PublishedSeconds int64
	Timeline         []Milestone // in the order of time
	Before, After    []keys.Key  // what is published; the new standby's key is made only by the real thing
}

// Milestone is one thing that would happen to a key.
type Milestone struct {
	At   time.Time
	KID  string // empty for the new standby, which has no key yet
	From keys.State
	To   keys.State
}

// PreviewRotation answers what Rotate would do, and changes nothing. Errors:
// those of Rotate.
func (s *Store) PreviewRotation(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Preview, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return Preview{}, err
	}
	return l.preview(req)
}

func (l *ledger) preview(req RotateRequest) (Preview, error) {
	p, err := l.policy(req.Alg)
	if err != nil {
		return Preview{}, err
	}
	s := l.schedule(p)
	out := Preview{Before: l.published()}
	if err := l.makeRoom(s); err != nil {
		return Preview{}, err
	}
	next := l.in(p.Alg, keys.Standby)
	if next == nil {
		return Preview{}, &keys.StateError{From: keys.Born, To: keys.Active}
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, keys.ByHand); err != nil {
		return Preview{}, err
	}
	l.conceive(p.Alg, keys.Standby)
	out.Active, out.After, out.Timeline = *l.in(p.Alg, keys.Active), l.published(), l.timeline(s)
	if i := slices.IndexFunc(l.moves, func(m move) bool { return m.State == keys.Deprecated }); i >= 0 {
		out.Deprecated = &l.moves[i].Key
	}
	return out, nil
}

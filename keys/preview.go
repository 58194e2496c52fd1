package keys

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
)

// Preview is what a rotation by hand would do if it were done now. Nothing has
// changed.
type Preview struct {
	Active           Key  // the standby of today
	Deprecated       *Key // the active key of today
	PublishedSeconds int64
	Timeline         []Milestone // in the order of time
	Before, After    []Key       // what is published; the new standby's key is made only by the real thing
}

// Milestone is one thing that would happen to a key.
type Milestone struct {
	At   time.Time
	KID  string // empty for the new standby, which has no key yet
	From State
	To   State
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
	next := l.in(p.Alg, Standby)
	if next == nil {
		return Preview{}, &StateError{From: Born, To: Active}
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, ByHand); err != nil {
		return Preview{}, err
	}
	l.conceive(p.Alg, Standby)
	out.Active, out.After, out.Timeline = *l.in(p.Alg, Active), l.published(), l.timeline(s)
	if i := slices.IndexFunc(l.moves, func(m move) bool { return m.State == Deprecated }); i >= 0 {
		out.Deprecated = &l.moves[i].Key
	}
	return out, nil
}

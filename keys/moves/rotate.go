package moves

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// ErrRotationWaits means that a rotation would leave more keys published than
// max_published_keys while tokens of all of them may still live.
var ErrRotationWaits = errors.New("keys: max_published_keys leaves no room while tokens of the oldest key may live")

// Rotation is what a rotation by hand did.
type Rotation struct {
	Active     Entry
	Deprecated *Entry // nil when nothing signed before
	Standby    Entry
	// PublishedSeconds is for how long the new active key had been published:
	// below the policy's lead, some verifiers may not know it yet.
	PublishedSeconds int64
}

// RotateRequest asks for a rotation by hand.
type RotateRequest struct {
	Alg    jose.SignatureAlgorithm // empty: the default policy's
	Reason string                  // free text for the audit history
}

// Rotate makes the standby active and the active key deprecated, now, however
// long the standby has been published, and puts a new standby in its place.
// Errors: keys.ErrPolicyNotFound, ErrRotationWaits, tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Rotation, error) {
	var out Rotation
	err := s.change(ctx, by, tenantID, func(l *ledger, m *made) (err error) {
		p, err := l.policy(req.Alg)
		if err != nil {
			return err
		}
		out, err = l.rotate(p, m)
		if err == nil && req.Reason != "" {
			l.because(req.Reason)
		}
		return err
	})
	return out, err
}

// rotate is the rotation by hand of one policy.
func (l *ledger) rotate(p tenant.Policy, m *made) (Rotation, error) {
	var out Rotation
	s := l.schedule(p)
	if err := l.makeRoom(s); err != nil {
		return out, err
	}
	old, next := l.in(p.Alg, keys.Active), l.in(p.Alg, keys.Standby)
	if next == nil {
		// The standby was used up a moment ago and not replaced yet.
		if _, err := m.enter(l, p.Alg, ""); err != nil {
			return out, err
		}
		old, next = l.in(p.Alg, keys.Active), l.in(p.Alg, keys.Standby)
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, byHand); err != nil {
		return out, err
	}
	standby, err := m.enter(l, p.Alg, "")
	if err != nil {
		return out, err
	}
	l.reschedule(p)
	out.Active, out.Standby = l.entry(*l.in(p.Alg, keys.Active)), l.entry(standby)
	if old != nil {
		gone := l.entry(*l.find(old.KID))
		out.Deprecated = &gone
	}
	return out, nil
}

// makeRoom lets the oldest deprecated keys leave early if one more would be
// too many, but none whose tokens may still live.
func (l *ledger) makeRoom(s keys.Schedule) error {
	published := 1 // the key that is about to come
	for _, k := range l.of(s.Alg) {
		if k.State.Published() {
			published++
		}
	}
	for published > s.MaxPublishedKeys {
		k := l.oldestDeprecated(s.Alg)
		if k == nil || l.at.Before(*s.SafeToRetireAt(*k)) {
			return fmt.Errorf("%w: max_published_keys is %d", ErrRotationWaits, s.MaxPublishedKeys)
		}
		if err := l.expire(k); err != nil {
			return err
		}
		published--
	}
	return nil
}

func (l *ledger) oldestDeprecated(alg jose.SignatureAlgorithm) (oldest *keys.Key) {
	for i := range l.keys {
		k := &l.keys[i]
		if k.Alg == alg && k.State == keys.Deprecated && (oldest == nil || k.CompareDeprecation(*oldest) < 0) {
			oldest = k
		}
	}
	return oldest
}

// because adds somebody's words to every event of this transaction.
func (l *ledger) because(reason string) {
	for i := range l.events {
		if l.events[i].Reason == "" {
			l.events[i].Reason = reason
		}
	}
}

package moves

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/signing"
)

// RevokeRequest says why a key goes and, if it is the active one, which key
// signs from then on.
type RevokeRequest struct {
	Reason  keys.Reason
	Comment string            // free text for the audit history
	Mode    Mode              // empty: FreshTakesOver for a compromised key, else StandbyTakesOver
	Use     signing.RecentUse // what the evidence does not say yet, see [signing.Signer.RecentUse]
}

// mode is the one asked for or the reason's default. A compromised key is
// replaced by one that no verifier knows, so that those that behave must fetch
// the set again and lose the old one.
func (r RevokeRequest) mode() Mode {
	switch {
	case r.Mode != "":
		return r.Mode
	case r.Reason == keys.Compromised:
		return FreshTakesOver
	}
	return StandbyTakesOver
}

// Revocation is what a revocation did.
type Revocation struct {
	Key          Entry
	Mode         Mode   // empty when the key was not the active one
	Active       *Entry // signs from now on; nil when the key was not the active one
	Standby      *Entry // entered in place of one that was used up or revoked
	TrustedUntil []Trust
	// BreaksTokensUntil is when the last token known to be signed with the key
	// would have expired; nil if none is known to live. Evidence is up to a
	// minute old, see [signing.Signer.FlushEvidence].
	BreaksTokensUntil *time.Time
}

// Revoke takes a key out of the JWKS now. If it was the active one, another
// signs in the same transaction. Errors: ErrNotFound, *keys.StateError for a key
// that has left the JWKS already, tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) Revoke(ctx context.Context, by audit.By, tenantID uuid.UUID, kid string, req RevokeRequest) (Revocation, error) {
	var out Revocation
	err := s.change(ctx, by, tenantID, func(l *ledger, m *made) (err error) {
		out, err = l.revokeOne(kid, req, m)
		return err
	})
	if errors.Is(err, errNotInLedger) {
		return Revocation{}, s.gone(ctx, tenantID, kid)
	}
	return out, err
}

// errNotInLedger means that a key was purged or never was: ledgers hold neither.
var errNotInLedger = errors.New("keys: the key is not in the ledger")

// gone is why a key that no ledger holds cannot be revoked.
func (s *Store) gone(ctx context.Context, tenantID uuid.UUID, kid string) error {
	k, err := s.Get(ctx, tenantID, kid)
	if err != nil {
		return err
	}
	return &keys.StateError{KID: kid, From: k.State, To: keys.Revoked}
}

func (l *ledger) revokeOne(kid string, req RevokeRequest, m *made) (Revocation, error) {
	out, was, err := l.condemn(kid, req)
	if err != nil {
		return out, err
	}
	if was != keys.Deprecated {
		if err := l.replace(out.Key.Alg, out.Mode, m, &out); err != nil {
			return out, err
		}
	}
	l.rescheduleAlg(out.Key.Alg)
	return out, nil
}

// condemn revokes a key and says what follows, but for who signs from then on.
func (l *ledger) condemn(kid string, req RevokeRequest) (out Revocation, was keys.State, err error) {
	k := l.find(kid)
	if k == nil {
		return out, was, errNotInLedger
	}
	req.Use.AddTo(k)
	was = k.State
	if err := l.revoke(k, req.Reason, req.Comment); err != nil {
		return out, was, err
	}
	if out.Key = l.entry(*k); was == keys.Active {
		out.Mode = req.mode()
	}
	out.TrustedUntil = TrustedUntil(l.at, l.tenant.Caching, out.Mode, was == keys.Active)
	out.BreaksTokensUntil = l.breaks(*k)
	return out, was, nil
}

// breaks is until when tokens live that go with these keys, as far as evidence
// says.
func (l *ledger) breaks(gone ...keys.Key) (until *time.Time) {
	for _, k := range gone {
		if last := k.LastTokenExpiresAt; last != nil && last.After(l.at) && (until == nil || last.After(*until)) {
			until = last
		}
	}
	return until
}

// replace fills the places that a revocation emptied.
func (l *ledger) replace(alg jose.SignatureAlgorithm, mode Mode, m *made, out *Revocation) error {
	tookOver := l.in(alg, keys.Active) == nil
	if tookOver {
		if err := l.takeOver(alg, mode, m); err != nil {
			return err
		}
	}
	if err := l.refill(alg, m, out); err != nil {
		return err
	}
	if tookOver {
		active := l.entry(*l.in(alg, keys.Active))
		out.Active = &active
	}
	return nil
}

// refill puts a new standby in place of one that is gone. A revocation does not
// wait for a key to be made: if none is ready the worker will bring it.
func (l *ledger) refill(alg jose.SignatureAlgorithm, m *made, out *Revocation) error {
	if l.in(alg, keys.Standby) != nil {
		return nil
	}
	k, err := m.enter(l, alg, "")
	var slow *slowKeyError
	if errors.As(err, &slow) {
		return nil
	}
	if err != nil {
		return err
	}
	standby := l.entry(k)
	out.Standby = &standby
	return nil
}

// takeOver makes another key sign. Without a standby a fresh key has to.
func (l *ledger) takeOver(alg jose.SignatureAlgorithm, mode Mode, m *made) error {
	if standby := l.in(alg, keys.Standby); standby != nil && mode == StandbyTakesOver {
		return l.activate(standby, byRevocation)
	}
	_, err := m.enter(l, alg, byFreshKey)
	return err
}

func (l *ledger) rescheduleAlg(alg jose.SignatureAlgorithm) {
	for _, p := range l.policies {
		if p.Alg == alg {
			l.reschedule(p)
		}
	}
}

// MassRevocation is what RevokeAll did.
type MassRevocation struct {
	Revoked      []Entry
	Active       []Entry // one per live policy, known to no verifier
	Standby      []Entry
	TrustedUntil []Trust
	// BreaksTokensUntil is when the last token known to be signed with any of
	// them would have expired; nil if none is known to live.
	BreaksTokensUntil *time.Time
}

// RevokeAll takes every standby, active and deprecated key of a tenant out of
// the JWKS and puts fresh active and standby keys in their place. Errors:
// tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) RevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	var out MassRevocation
	err := s.change(ctx, by, tenantID, func(l *ledger, m *made) (err error) {
		out, err = l.revokeAll(reason, comment, m)
		return err
	})
	return out, err
}

func (l *ledger) revokeAll(reason keys.Reason, comment string, m *made) (out MassRevocation, err error) {
	if out, err = l.condemnAll(reason, comment); err != nil {
		return out, err
	}
	for _, p := range l.live() {
		active, err := m.enter(l, p.Alg, byRevokeAll)
		if err != nil {
			return out, err
		}
		standby, err := m.enter(l, p.Alg, "")
		if err != nil {
			return out, err
		}
		out.Active, out.Standby = append(out.Active, l.entry(active)), append(out.Standby, l.entry(standby))
	}
	for _, p := range l.policies {
		l.reschedule(p)
	}
	return out, nil
}

// condemnAll revokes what is published and says what follows, but for the keys
// in their place.
func (l *ledger) condemnAll(reason keys.Reason, comment string) (out MassRevocation, err error) {
	out.Revoked, err = l.revokePublished(reason, comment)
	out.TrustedUntil = TrustedUntil(l.at, l.tenant.Caching, FreshTakesOver, true)
	gone := make([]keys.Key, len(out.Revoked))
	for i, e := range out.Revoked {
		gone[i] = e.Key
	}
	out.BreaksTokensUntil = l.breaks(gone...)
	return out, err
}

func (l *ledger) revokePublished(reason keys.Reason, comment string) (revoked []Entry, err error) {
	for i := range l.keys {
		if k := &l.keys[i]; k.State.Published() {
			if err := l.revoke(k, reason, comment); err != nil {
				return nil, err
			}
			revoked = append(revoked, l.entry(*k))
		}
	}
	return revoked, nil
}

// Purge forgets the public part of every expired and revoked key now instead
// of after purge_after. Errors: tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Purge(ctx context.Context, by audit.By, tenantID uuid.UUID) (purged []keys.Key, err error) {
	err = s.change(ctx, by, tenantID, func(l *ledger, _ *made) error {
		purged = nil
		for i := range l.keys {
			if k := &l.keys[i]; k.State == keys.Expired || k.State == keys.Revoked {
				if err := l.purge(k); err != nil {
					return err
				}
				purged = append(purged, *k)
			}
		}
		for _, p := range l.policies {
			l.reschedule(p)
		}
		return nil
	})
	return purged, err
}

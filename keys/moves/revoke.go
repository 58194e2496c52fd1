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
	"github.com/keyward/keyward/tenant"
)

// RevokeRequest gives the reason for a revocation and, for the active key, its
// replacement.
type RevokeRequest struct {
	Reason  keys.Reason
	Comment string // free text for the audit history
	Mode    Mode   // empty: FreshTakesOver for a compromised key, else StandbyTakesOver
	// Use returns the use of a key that is not yet in the database, see
	// [signing.Signer.RecentUse]; nil: nothing.
	Use func(kid string) signing.RecentUse
}

// effectiveMode returns the requested mode or the reason's default. A compromised key is
// replaced by one that no verifier has cached, so that well-behaved verifiers fetch the
// set again and drop the old key.
func (r RevokeRequest) effectiveMode() Mode {
	switch {
	case r.Mode != "":
		return r.Mode
	case r.Reason == keys.Compromised:
		return FreshTakesOver
	}
	return StandbyTakesOver
}

// Revocation is the result of a revocation.
type Revocation struct {
	Key          Entry
	Mode         Mode   // empty if the key was not the active one
	Active       *Entry // the new active key; nil if the revoked key was not the active one
	Standby      *Entry // the new standby; nil if none was added
	TrustedUntil []Trust
	// BreaksTokensUntil is the latest known expiry of a token signed with the key;
	// nil if no live token is known. Evidence is up to a minute old, see
	// [signing.Signer.FlushEvidence].
	BreaksTokensUntil *time.Time
}

// Revoke removes a key from the JWKS now. If it was the active one, another key is
// activated in the same transaction. Errors: ErrNotFound, *keys.StateError for a key
// that has left the JWKS already, tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) Revoke(ctx context.Context, by audit.By, tenantID uuid.UUID, kid string, req RevokeRequest) (Revocation, error) {
	var out Revocation
	err := s.changeTenant(ctx, by, tenantID, func(l *ledger, m *keySupply) (err error) {
		out, err = l.revokeKey(kid, req, m)
		return err
	})
	if errors.Is(err, errNotInLedger) {
		return Revocation{}, s.notRevocableError(ctx, tenantID, kid)
	}
	return out, err
}

// RevokeActive is Revoke of the key that signs for an algorithm; an empty one selects
// the default policy. Errors: those of Revoke, keys.ErrPolicyNotFound, ErrNotFound if
// nothing signs.
func (s *Store) RevokeActive(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm, req RevokeRequest) (Revocation, error) {
	var out Revocation
	err := s.changeTenant(ctx, by, tenantID, func(l *ledger, m *keySupply) error {
		kid, err := l.activeKID(alg)
		if err != nil {
			return err
		}
		out, err = l.revokeKey(kid, req, m)
		return err
	})
	return out, err
}

// activeKID returns the kid that signs for an algorithm; an empty one selects the
// default policy. Errors: keys.ErrPolicyNotFound, ErrNotFound.
func (l *ledger) activeKID(alg jose.SignatureAlgorithm) (string, error) {
	p, err := l.findPolicy(alg)
	if err != nil {
		return "", err
	}
	k := l.keyInState(p.Alg, keys.Active)
	if k == nil {
		return "", ErrNotFound
	}
	return k.KID, nil
}

// errNotInLedger means that a key is purged or does not exist: ledgers hold neither.
var errNotInLedger = errors.New("keys: the key is not in the ledger")

// notRevocableError returns the error for a key that is not in the ledger: ErrNotFound
// or, if it is purged, a *keys.StateError.
func (s *Store) notRevocableError(ctx context.Context, tenantID uuid.UUID, kid string) error {
	k, err := s.Get(ctx, tenantID, kid)
	if err != nil {
		return err
	}
	return &keys.StateError{KID: kid, From: k.State, To: keys.Revoked}
}

func (l *ledger) revokeKey(kid string, req RevokeRequest, m *keySupply) (Revocation, error) {
	out, was, err := l.revokeAndReport(kid, req)
	if err != nil {
		return out, err
	}
	if was != keys.Deprecated {
		if err := l.replaceRevoked(out.Key.Alg, out.Mode, m, &out); err != nil {
			return out, err
		}
	}
	l.rescheduleAlg(out.Key.Alg)
	return out, nil
}

// revokeAndReport revokes a key and reports the effects, except the replacement. was is
// its state before.
func (l *ledger) revokeAndReport(kid string, req RevokeRequest) (out Revocation, was keys.State, err error) {
	k := l.findKey(kid)
	if k == nil {
		return out, was, errNotInLedger
	}
	if req.Use != nil {
		req.Use(kid).AddTo(k)
	}
	was = k.State
	if err := l.revoke(k, req.Reason, req.Comment); err != nil {
		return out, was, err
	}
	if out.Key = l.entryOf(*k); was == keys.Active {
		out.Mode = req.effectiveMode()
	}
	out.TrustedUntil = TrustedUntil(l.at, l.tenant.Caching, out.Mode, was == keys.Active)
	out.BreaksTokensUntil = l.lastTokenExpiry(*k)
	return out, was, nil
}

// lastTokenExpiry returns the latest known expiry of a live token signed by any of the
// keys, nil if none is known.
func (l *ledger) lastTokenExpiry(revoked ...keys.Key) (until *time.Time) {
	for _, k := range revoked {
		if last := k.LastTokenExpiresAt; last != nil && last.After(l.at) && (until == nil || last.After(*until)) {
			until = last
		}
	}
	return until
}

// replaceRevoked replaces the keys that a revocation removed.
func (l *ledger) replaceRevoked(alg jose.SignatureAlgorithm, mode Mode, m *keySupply, out *Revocation) error {
	replaced := l.keyInState(alg, keys.Active) == nil
	if replaced {
		if err := l.activateReplacement(alg, mode, m); err != nil {
			return err
		}
	}
	if err := l.addStandby(alg, m, out); err != nil {
		return err
	}
	if replaced {
		active := l.entryOf(*l.keyInState(alg, keys.Active))
		out.Active = &active
	}
	return nil
}

// addStandby adds a new standby if there is none. A revocation does not wait for the
// generation of a key, and needs no KMS that does not answer: if none is ready, the worker
// adds it.
func (l *ledger) addStandby(alg jose.SignatureAlgorithm, m *keySupply, out *Revocation) error {
	if l.keyInState(alg, keys.Standby) != nil {
		return nil
	}
	k, err := m.addKey(l, alg, "")
	var slow *keyNotReadyError
	if errors.As(err, &slow) || err != nil && errors.Is(err, m.unopened) {
		return nil
	}
	if err != nil {
		return err
	}
	standby := l.entryOf(k)
	out.Standby = &standby
	return nil
}

// activateReplacement activates another key. Without a standby it has to be a new one.
func (l *ledger) activateReplacement(alg jose.SignatureAlgorithm, mode Mode, m *keySupply) error {
	if standby := l.keyInState(alg, keys.Standby); standby != nil && mode == StandbyTakesOver {
		return l.activate(standby, byRevocation)
	}
	_, err := m.addKey(l, alg, byFreshKey)
	return err
}

func (l *ledger) rescheduleAlg(alg jose.SignatureAlgorithm) {
	for _, p := range l.policies {
		if p.Alg == alg {
			l.reschedule(p)
		}
	}
}

// MassRevocation is the result of RevokeAll.
type MassRevocation struct {
	Revoked      []Entry
	Active       []Entry // one per live policy, new to all verifiers
	Standby      []Entry
	TrustedUntil []Trust
	// BreaksTokensUntil is the latest known expiry of a token signed with any of
	// them; nil if no live token is known.
	BreaksTokensUntil *time.Time
}

// RevokeAll revokes every standby, active and deprecated key of a tenant and replaces
// them with new active and standby keys. Errors: tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) RevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	var out MassRevocation
	err := s.changeTenant(ctx, by, tenantID, func(l *ledger, m *keySupply) (err error) {
		out, err = l.revokeAllKeys(reason, comment, m)
		return err
	})
	return out, err
}

func (l *ledger) revokeAllKeys(reason keys.Reason, comment string, m *keySupply) (out MassRevocation, err error) {
	l.noted = append(l.noted, tenant.RevokeAll, tenant.Revoke) // also of a set that is empty by now
	if out, err = l.revokeAllAndReport(reason, comment); err != nil {
		return out, err
	}
	for _, p := range l.livePolicies() {
		active, err := m.addKey(l, p.Alg, byRevokeAll)
		if err != nil {
			return out, err
		}
		standby, err := m.addKey(l, p.Alg, "")
		if err != nil {
			return out, err
		}
		out.Active, out.Standby = append(out.Active, l.entryOf(active)), append(out.Standby, l.entryOf(standby))
	}
	for _, p := range l.policies {
		l.reschedule(p)
	}
	return out, nil
}

// revokeAllAndReport revokes the published keys and reports the effects, except the
// replacements.
func (l *ledger) revokeAllAndReport(reason keys.Reason, comment string) (out MassRevocation, err error) {
	out.Revoked, err = l.revokePublished(reason, comment)
	out.TrustedUntil = TrustedUntil(l.at, l.tenant.Caching, FreshTakesOver, true)
	revoked := make([]keys.Key, len(out.Revoked))
	for i, e := range out.Revoked {
		revoked[i] = e.Key
	}
	out.BreaksTokensUntil = l.lastTokenExpiry(revoked...)
	return out, err
}

func (l *ledger) revokePublished(reason keys.Reason, comment string) (revoked []Entry, err error) {
	for i := range l.keys {
		if k := &l.keys[i]; k.State.Published() {
			if err := l.revoke(k, reason, comment); err != nil {
				return nil, err
			}
			revoked = append(revoked, l.entryOf(*k))
		}
	}
	return revoked, nil
}

// Purge erases the public part of every expired and revoked key now instead of after
// purge_after. Errors: tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Purge(ctx context.Context, by audit.By, tenantID uuid.UUID) (purged []keys.Key, err error) {
	err = s.changeTenant(ctx, by, tenantID, func(l *ledger, _ *keySupply) error {
		purged = nil
		l.noted = append(l.noted, tenant.Purge) // also if there is nothing to purge yet
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

// PreviewRevocation returns the result that Revoke would have, without changing
// anything: the revoked key, its replacement, and how long which verifiers may still
// accept it. A key that only the real operation would generate is missing. Errors: those
// of Revoke.
func (s *Store) PreviewRevocation(ctx context.Context, by audit.By, tenantID uuid.UUID, kid string, req RevokeRequest) (Revocation, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return Revocation{}, err
	}
	out, err := l.previewRevocation(kid, req)
	if errors.Is(err, errNotInLedger) {
		return Revocation{}, s.notRevocableError(ctx, tenantID, kid)
	}
	return out, err
}

// PreviewActiveRevocation is PreviewRevocation for RevokeActive. Errors: those of
// RevokeActive.
func (s *Store) PreviewActiveRevocation(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm, req RevokeRequest) (Revocation, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return Revocation{}, err
	}
	kid, err := l.activeKID(alg)
	if err != nil {
		return Revocation{}, err
	}
	return l.previewRevocation(kid, req)
}

func (l *ledger) previewRevocation(kid string, req RevokeRequest) (Revocation, error) {
	out, _, err := l.revokeAndReport(kid, req)
	if err != nil {
		return Revocation{}, err
	}
	if k := l.keyInState(out.Key.Alg, keys.Standby); k != nil && out.Mode == StandbyTakesOver {
		if err := l.activate(k, byRevocation); err != nil {
			return Revocation{}, err
		}
		active := l.entryOf(*k)
		out.Active = &active
	}
	return out, nil
}

// PreviewRevokeAll returns the result that RevokeAll would have, without changing
// anything. The replacement keys are missing: only the real operation generates them.
// Errors: those of RevokeAll.
func (s *Store) PreviewRevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return MassRevocation{}, err
	}
	return l.revokeAllAndReport(reason, comment)
}

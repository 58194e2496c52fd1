package moves

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// ErrRotationWaits means that a rotation would leave more keys published than
// max_published_keys while tokens of all of them may still be valid.
var ErrRotationWaits = errors.New("keys: max_published_keys leaves no room while tokens of the oldest key may live")

// Rotation is the result of a rotation by hand.
type Rotation struct {
	Active     Entry
	Deprecated *Entry // nil if there was no active key
	Standby    Entry
	// PublishedSeconds is how long the new active key had been published: if less
	// than the policy's lead, some verifiers may not have fetched it yet.
	PublishedSeconds int64
}

// RotateRequest requests a rotation by hand.
type RotateRequest struct {
	Alg    jose.SignatureAlgorithm // empty: the default policy's
	Reason string                  // free text for the audit history
}

// Rotate makes the standby active and the active key deprecated, now, however long the
// standby has been published, and adds a new standby. Errors: keys.ErrPolicyNotFound,
// ErrRotationWaits, tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Rotation, error) {
	var out Rotation
	err := s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) (err error) {
		p, err := l.findPolicy(req.Alg)
		if err != nil {
			return err
		}
		if err := errors.Join(s.checkKeys(ctx, tx, l, 1), m.admit(p, 1)); err != nil {
			return err
		}
		out, err = l.rotateKeys(p, m)
		if err != nil {
			return err
		}
		if req.Reason != "" {
			l.setReason(req.Reason)
		}
		return writeLedgers(ctx, tx, l)
	})
	return out, err
}

// rotateKeys rotates the keys of one policy by hand.
func (l *ledger) rotateKeys(p tenant.Policy, m *keySupply) (Rotation, error) {
	var out Rotation
	s := l.scheduleOf(p)
	if err := l.makeRoom(s); err != nil {
		return out, err
	}
	old, next := l.keyInState(p.Alg, keys.Active), l.keyInState(p.Alg, keys.Standby)
	if next == nil {
		// The standby has just been activated and is not replaced yet.
		if _, err := m.addKey(l, p.Alg, ""); err != nil {
			return out, err
		}
		old, next = l.keyInState(p.Alg, keys.Active), l.keyInState(p.Alg, keys.Standby)
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promoteStandby(s, byHand); err != nil {
		return out, err
	}
	standby, err := m.addKey(l, p.Alg, "")
	if err != nil {
		return out, err
	}
	l.reschedule(p)
	out.Active, out.Standby = l.entryOf(*l.keyInState(p.Alg, keys.Active)), l.entryOf(standby)
	if old != nil {
		deprecated := l.entryOf(*l.findKey(old.KID))
		out.Deprecated = &deprecated
	}
	return out, nil
}

// makeRoom expires the oldest deprecated keys early if one more key would be too many,
// but none whose tokens may still be valid. Errors: ErrRotationWaits.
func (l *ledger) makeRoom(s keys.Schedule) error {
	published := 1 // the new key
	for _, k := range l.keysOf(s.Alg) {
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

// setReason adds the caller's reason to every event of this transaction.
func (l *ledger) setReason(reason string) {
	for i := range l.events {
		if l.events[i].Reason == "" {
			l.events[i].Reason = reason
		}
	}
}

// PreviewRotation returns the result that Rotate would have, without changing anything.
// Errors: those of Rotate.
func (s *Store) PreviewRotation(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Preview, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return Preview{}, err
	}
	return l.previewRotation(req)
}

func (l *ledger) previewRotation(req RotateRequest) (Preview, error) {
	p, err := l.findPolicy(req.Alg)
	if err != nil {
		return Preview{}, err
	}
	s := l.scheduleOf(p)
	out := Preview{Before: l.publishedKeys()}
	if err := l.makeRoom(s); err != nil {
		return Preview{}, err
	}
	next := l.keyInState(p.Alg, keys.Standby)
	if next == nil {
		return Preview{}, &keys.StateError{From: keys.Born, To: keys.Active}
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promoteStandby(s, byHand); err != nil {
		return Preview{}, err
	}
	l.addPlaceholder(p.Alg, keys.Standby)
	out.Active, out.After, out.Timeline = *l.keyInState(p.Alg, keys.Active), l.publishedKeys(), l.buildTimeline(s)
	if i := slices.IndexFunc(l.moves, func(m move) bool { return m.State == keys.Deprecated }); i >= 0 {
		out.Deprecated = &l.moves[i].Key
	}
	return out, nil
}

// DataKeyRotation is the result of a rotation of a tenant's data key.
type DataKeyRotation struct {
	Version   int32 // of the new data key
	Resealed  int   // private keys sealed with the new data key
	CreatedAt time.Time
}

// RotateDataKey gives a tenant a new data key, seals its private keys with it and
// destroys the old one, in one transaction: a tenant has two private keys per policy, so
// nothing needs to be left for later. Signing continues. A KMS is asked before the tenant
// is locked, and again if its data keys have changed meanwhile. Errors:
// tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) RotateDataKey(ctx context.Context, by audit.By, tenantID uuid.UUID) (out DataKeyRotation, err error) {
	for {
		open, err := s.openLiveDataKeys(ctx, tenantID)
		if err != nil {
			return DataKeyRotation{}, err
		}
		fresh, row, err := s.cfg.Custody.NewDataKey(ctx, tenantID, open.Newest()+1, time.Time{})
		if err != nil {
			return DataKeyRotation{}, err
		}
		var destroyed []int32
		err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			out, destroyed, err = s.replaceDataKey(ctx, tx, by, tenantID, open, fresh, row)
			return err
		})
		if errors.Is(err, errDataKeysChanged) {
			continue
		}
		if err != nil {
			return DataKeyRotation{}, err
		}
		s.invalidateDataKeys(ctx, tenantID, destroyed)
		return out, nil
	}
}

// errDataKeysChanged means that a tenant's data keys are not those that were opened before
// the tenant was locked.
var errDataKeysChanged = errors.New("keys: the tenant's data keys have changed")

// openLiveDataKeys opens a tenant's data keys before the tenant is locked. Errors:
// tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) openLiveDataKeys(ctx context.Context, tenantID uuid.UUID) (custody.OpenedDataKeys, error) {
	open, err := s.cfg.Custody.OpenLiveDataKeys(ctx, tenantID)
	if err == nil && len(open) == 0 { // only a deleted tenant has none
		return nil, tenant.ErrNotFound
	}
	return open, err
}

// replaceDataKey replaces a tenant's data keys, which are open, with a fresh one. Errors:
// errDataKeysChanged.
func (s *Store) replaceDataKey(ctx context.Context, tx *db.Tx, by audit.By, tenantID uuid.UUID, open custody.OpenedDataKeys, fresh custody.Sealer, row custody.DataKeyRow,
) (out DataKeyRotation, destroyed []int32, err error) {
	l, err := s.lockTenant(ctx, tx, by, tenantID)
	if err != nil {
		return out, nil, err
	}
	live, err := tx.ListLiveDataKeys(ctx, tenantID)
	if err != nil {
		return out, nil, err
	}
	if !open.Covers(live) {
		return out, nil, errDataKeysChanged
	}
	row.CreatedAt = l.at
	kids, sealed, err := resealKeys(ctx, tx, tenantID, open, fresh)
	if err != nil {
		return out, nil, err
	}
	destroyed = l.addDataKeyEvents(live, row.Version)
	out = DataKeyRotation{Version: row.Version, Resealed: len(kids), CreatedAt: l.at}
	return out, destroyed, l.writeDataKeyRotation(ctx, tx, row, kids, sealed, len(destroyed))
}

// invalidateDataKeys drops destroyed data keys from memory once their destruction is
// committed.
func (s *Store) invalidateDataKeys(ctx context.Context, tenantID uuid.UUID, versions []int32) {
	db.AfterCommit(ctx, func() {
		for _, v := range versions {
			s.cfg.Custody.InvalidateDataKey(tenantID, v)
		}
	})
}

// resealKeys decrypts every private key of the tenant and encrypts it with the new data
// key.
func resealKeys(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, old custody.OpenedDataKeys, fresh custody.Sealer) (kids []string, sealed [][]byte, err error) {
	rows, err := tx.ListSealedKeys(ctx, tenantID)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range rows {
		key, live := old[*row.DataKeyVersion]
		if !live {
			return nil, nil, fmt.Errorf("%w: key %s: its data key is destroyed", custody.ErrDataKey, row.KID)
		}
		der, err := key.Open(tenantID, *row.DataKeyVersion, row.KID, row.SealedPrivate)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: key %s: %w", custody.ErrDataKey, row.KID, err)
		}
		closed, err := fresh.Key.Seal(tenantID, fresh.Version, row.KID, der)
		clear(der)
		if err != nil {
			return nil, nil, err
		}
		kids, sealed = append(kids, row.KID), append(sealed, closed)
	}
	return kids, sealed, nil
}

// addDataKeyEvents adds the events of a data key rotation and returns the versions that
// it destroys.
func (l *ledger) addDataKeyEvents(live []db.ListLiveDataKeysRow, next int32) (destroyed []int32) {
	l.addEvent(audit.Event{Action: audit.DataKeyRotated}, map[string]any{"version": next})
	for _, row := range live {
		l.addEvent(audit.Event{Action: audit.DataKeyDestroyed}, map[string]any{"version": row.Version})
		destroyed = append(destroyed, row.Version)
	}
	return destroyed
}

func (l *ledger) writeDataKeyRotation(ctx context.Context, tx *db.Tx, row custody.DataKeyRow, kids []string, sealed [][]byte, destroyed int) error {
	w := tx.Later()
	if _, err := w.SupersedeDataKey(ctx, l.tenant.ID); err != nil {
		return err
	}
	w.Expect(1)
	if err := w.InsertDataKey(ctx, db.InsertDataKeyParams(row)); err != nil {
		return err
	}
	_, err := w.ResealKeys(ctx, db.ResealKeysParams{TenantID: l.tenant.ID, NewVersion: row.Version, Kids: kids, SealedPrivates: sealed})
	if err != nil {
		return err
	}
	w.Expect(len(kids))
	if _, err := w.DestroyDataKeys(ctx, &l.at, l.tenant.ID, row.Version); err != nil {
		return err
	}
	w.Expect(destroyed)
	if err := new(statements).addLedgers([]*ledger{l}).queueTo(ctx, w); err != nil {
		return err
	}
	return w.Send(ctx)
}

package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
	"github.com/maypok86/otter/v2"
)

// private opens a key, or takes it from memory. A key that does not open is
// logged with its row and never a reason to make another.
func (s *Signer) private(ctx context.Context, name keyName) (Private, error) {
	return s.privates.Get(ctx, name, otter.LoaderFunc[keyName, Private](
		func(ctx context.Context, name keyName) (Private, error) {
			kids, _ := s.kids.LoadOrStore(name.tenantID, new(sync.Map))
			kids.(*sync.Map).Store(name.kid, true)
			private, err := s.open(ctx, name)
			if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNoActiveKey) {
				s.cfg.Log.Error("private key cannot be opened", "tenant_id", name.tenantID, "kid", name.kid, "error", err)
			}
			return private, err
		}))
}

func (s *Signer) open(ctx context.Context, name keyName) (Private, error) {
	var row db.GetSealedKeyRow
	err := s.cfg.DB.InTenant(ctx, name.tenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetSealedKey(ctx, name.tenantID, name.kid)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return Private{}, fmt.Errorf("%w: %s was active a moment ago", ErrNoActiveKey, name.kid)
	}
	if err != nil {
		return Private{}, err
	}
	der, err := s.unseal(ctx, name, row)
	if errors.Is(err, seal.ErrDestroyed) {
		der, err = s.unseal(ctx, name, row) // the data key left memory meanwhile
	}
	if err != nil {
		return Private{}, err
	}
	defer clear(der)
	return ParsePKCS8(jose.SignatureAlgorithm(row.Alg), der)
}

func (s *Signer) unseal(ctx context.Context, name keyName, row db.GetSealedKeyRow) ([]byte, error) {
	key, err := s.cfg.Custody.dataKey(ctx, name.tenantID, *row.DataKeyVersion, row.Wrapped, row.MasterKeyID)
	if err != nil {
		return nil, err
	}
	return key.Open(name.tenantID, *row.DataKeyVersion, name.kid, row.SealedPrivate)
}

// Changed is told that a tenant has changed: its parsed keys are dropped.
func (s *Signer) Changed(tenantID uuid.UUID) {
	kids, known := s.kids.LoadAndDelete(tenantID)
	if !known {
		return
	}
	kids.(*sync.Map).Range(func(kid, _ any) bool {
		s.privates.Invalidate(keyName{tenantID, kid.(string)})
		return true
	})
}

// Missed is told that changes may have gone unheard: every parsed key is
// dropped.
func (s *Signer) Missed() {
	s.kids.Clear()
	s.privates.InvalidateAll()
}

package signing

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/maypok86/otter/v2"
)

// errNotLatest is why a private key that was read is not used; who can write the
// database has caused it.
var errNotLatest = errors.New("keys: the row of a key is not as its history has it")

// private opens a key, or takes it from memory. A key that does not open is
// logged with its row and never a reason to make another.
func (s *Signer) private(ctx context.Context, name keyName) (keys.Private, error) {
	loaded := false
	private, err := s.privates.Get(ctx, name, otter.LoaderFunc[keyName, keys.Private](
		func(ctx context.Context, name keyName) (keys.Private, error) {
			loaded = true
			kids, _ := s.kids.LoadOrStore(name.tenantID, new(sync.Map))
			kids.(*sync.Map).Store(name.kid, true)
			private, err := s.open(ctx, name)
			if err != nil && !errors.Is(err, db.ErrUnavailable) && !errors.Is(err, ErrNoActiveKey) && ctx.Err() == nil {
				s.cfg.Log.Error("private key cannot be opened", "tenant_id", name.tenantID, "kid", name.kid, "error", err)
			}
			return private, err
		}))
	if loaded && !s.keeps(name) {
		s.privates.Invalidate(name) // the tenant has changed while it was opened
	}
	return private, err
}

// keeps reports whether the next change of the tenant will drop the key.
func (s *Signer) keeps(name keyName) bool {
	kids, known := s.kids.Load(name.tenantID)
	if known {
		_, known = kids.(*sync.Map).Load(name.kid)
	}
	return known
}

func (s *Signer) open(ctx context.Context, name keyName) (keys.Private, error) {
	row, err := s.cfg.DB.SealedKey(ctx, name.tenantID, name.kid)
	if errors.Is(err, db.ErrNoRows) {
		return keys.Private{}, fmt.Errorf("%w: %s was active a moment ago", ErrNoActiveKey, name.kid)
	}
	if err != nil {
		return keys.Private{}, err
	}
	if !row.IsLatest {
		return keys.Private{}, errNotLatest
	}
	der, err := s.unseal(ctx, name, row)
	if errors.Is(err, seal.ErrDestroyed) {
		der, err = s.unseal(ctx, name, row) // the data key left memory meanwhile
	}
	if err != nil {
		return keys.Private{}, err
	}
	defer clear(der)
	return keys.ParsePair(jose.SignatureAlgorithm(row.Alg), der, row.PublicJWK)
}

func (s *Signer) unseal(ctx context.Context, name keyName, row db.GetSealedKeyRow) ([]byte, error) {
	key, err := s.cfg.Custody.OpenDataKey(ctx, name.tenantID, *row.DataKeyVersion, row.Wrapped, row.MasterKeyID)
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

// OpenKeys counts the private keys of a tenant that are in memory.
func (s *Signer) OpenKeys(tenantID uuid.UUID) (n int) {
	for name := range s.privates.Keys() {
		if name.tenantID == tenantID {
			n++
		}
	}
	return n
}

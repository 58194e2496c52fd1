package signing

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
)

// errNotLatest means that the row of a key does not match its history, so that the
// private key is not used; the cause is a write by hand.
var errNotLatest = errors.New("keys: the key's row does not match its audit history")

// privateKey returns a parsed private key, loading it if it is not cached. A key that
// cannot be opened is logged with its row; it never causes a new key.
func (s *Signer) privateKey(ctx context.Context, name keyName) (keys.Private, error) {
	loaded := false
	private, err := s.privates.Get(ctx, name, otter.LoaderFunc[keyName, keys.Private](
		func(ctx context.Context, name keyName) (keys.Private, error) {
			loaded = true
			kids, _ := s.cachedKIDs.LoadOrStore(name.tenantID, new(sync.Map))
			kids.(*sync.Map).Store(name.kid, true)
			private, err := s.loadPrivateKey(ctx, name)
			if err != nil && !errors.Is(err, db.ErrUnavailable) && !errors.Is(err, ErrNoActiveKey) && ctx.Err() == nil {
				s.cfg.Log.Error("private key cannot be opened", "tenant_id", name.tenantID, "kid", name.kid, "error", err)
			}
			return private, err
		}))
	if loaded && !s.isTracked(name) {
		s.privates.Invalidate(name) // the tenant changed during the load
	}
	return private, err
}

// isTracked reports whether the next change of the tenant will drop the key.
func (s *Signer) isTracked(name keyName) bool {
	kids, known := s.cachedKIDs.Load(name.tenantID)
	if known {
		_, known = kids.(*sync.Map).Load(name.kid)
	}
	return known
}

// loadPrivateKey reads, unseals and parses a private key.
func (s *Signer) loadPrivateKey(ctx context.Context, name keyName) (keys.Private, error) {
	row, err := s.cfg.DB.SealedKey(ctx, name.tenantID, name.kid)
	if errors.Is(err, db.ErrNoRows) {
		return keys.Private{}, fmt.Errorf("%w: %s has just stopped signing", ErrNoActiveKey, name.kid)
	}
	if err != nil {
		return keys.Private{}, err
	}
	if !row.IsLatest {
		return keys.Private{}, errNotLatest
	}
	der, err := s.unsealKey(ctx, name, row)
	if errors.Is(err, seal.ErrDestroyed) {
		der, err = s.unsealKey(ctx, name, row) // the data key was evicted meanwhile
	}
	if err != nil {
		return keys.Private{}, err
	}
	defer clear(der)
	return keys.ParsePair(jose.SignatureAlgorithm(row.Alg), der, row.PublicJWK)
}

func (s *Signer) unsealKey(ctx context.Context, name keyName, row db.GetSealedKeyRow) ([]byte, error) {
	key, err := s.cfg.Custody.OpenDataKey(ctx, name.tenantID, *row.DataKeyVersion, row.Wrapped, row.MasterKeyID)
	if err != nil {
		return nil, err
	}
	return key.Open(name.tenantID, *row.DataKeyVersion, name.kid, row.SealedPrivate)
}

// Changed drops the cached private keys of a tenant that has changed.
func (s *Signer) Changed(tenantID uuid.UUID) {
	kids, known := s.cachedKIDs.LoadAndDelete(tenantID)
	if !known {
		return
	}
	kids.(*sync.Map).Range(func(kid, _ any) bool {
		s.privates.Invalidate(keyName{tenantID, kid.(string)})
		return true
	})
}

// Missed drops every cached private key, because notifications may have been lost.
func (s *Signer) Missed() {
	s.cachedKIDs.Clear()
	s.privates.InvalidateAll()
}

// OpenKeys counts the private keys of a tenant in memory.
func (s *Signer) OpenKeys(tenantID uuid.UUID) (n int) {
	for name := range s.privates.Keys() {
		if name.tenantID == tenantID {
			n++
		}
	}
	return n
}

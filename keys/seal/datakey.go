package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/google/uuid"
)

const dataKeySize = 32 // AES-256

// DataKey seals the private keys of one tenant: 32 random bytes for AES-256-GCM.
// It prints as "[redacted]", refuses to marshal, and is safe for concurrent use.
//
// A sealed private key is 29 bytes longer than what is in it:
//
//	┌──────┬───────────┬─────────────────────┬──────────┐
//	│ 0x01 │ nonce, 12 │ PKCS#8, encrypted   │ tag, 16  │
//	└──────┴───────────┴─────────────────────┴──────────┘
//	  format
//
//	associated data: "keyward private key", format, tenant id (16),
//	                 data key version (4, big-endian), kid
//
// Nonces are random, so one data key may seal 2^32 private keys (NIST SP
// 800-38D section 8.3), more than any tenant will have.
type DataKey struct {
	Redacted
	mu       sync.RWMutex       // held for reading while the key is in use
	material *[dataKeySize]byte // nil once destroyed
	aead     cipher.AEAD        // made of material; nil once destroyed
}

// NewDataKey returns a fresh data key.
func NewDataKey() (*DataKey, error) {
	var material [dataKeySize]byte
	if _, err := rand.Read(material[:]); err != nil {
		return nil, fmt.Errorf("new data key: %w", err)
	}
	return newDataKey(&material)
}

// newDataKey takes ownership of material.
func newDataKey(material *[dataKeySize]byte) (*DataKey, error) {
	block, err := aes.NewCipher(material[:])
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return &DataKey{material: material, aead: aead}, nil
}

// Seal encrypts the private key kid of a tenant; version is that of this data
// key. It fails only with ErrDestroyed.
func (k *DataKey) Seal(tenantID uuid.UUID, version int32, kid string, pkcs8 []byte) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.aead == nil {
		return nil, ErrDestroyed
	}
	sealed := make([]byte, 1, 1+len(pkcs8)+k.aead.Overhead())
	sealed[0] = format
	return k.aead.Seal(sealed, nil, pkcs8, privateKeyAD(tenantID, version, kid)), nil // #nosec G407 -- the AEAD chooses the nonce
}

// Open decrypts a ciphertext that Seal made for the same tenant, data key
// version and kid. Errors: ErrCannotOpen, which does not say why, or
// ErrDestroyed. The caller owns the plaintext and clears it after use.
func (k *DataKey) Open(tenantID uuid.UUID, version int32, kid string, sealed []byte) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.aead == nil {
		return nil, ErrDestroyed
	}
	if len(sealed) == 0 || sealed[0] != format {
		return nil, ErrCannotOpen
	}
	pkcs8, err := k.aead.Open(nil, nil, sealed[1:], privateKeyAD(tenantID, version, kid))
	if err != nil {
		return nil, ErrCannotOpen
	}
	return pkcs8, nil
}

// DeriveMACKey returns a 32-byte key for HMAC-SHA-256, derived from this key for one
// purpose (HKDF, RFC 5869). The caller owns it. It fails only with ErrDestroyed.
func (k *DataKey) DeriveMACKey(purpose string) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.material == nil {
		return nil, ErrDestroyed
	}
	return hkdf.Key(sha256.New, k.material[:], nil, purpose, sha256.Size)
}

// Destroy zeroes the key after its last user has finished; every later call
// fails with ErrDestroyed. Destroying twice does nothing.
//
// Go cannot promise more: the expanded AES key becomes garbage that is not
// cleared, and a garbage collector, a swap file or a core dump may hold copies
// of earlier memory.
func (k *DataKey) Destroy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.material != nil {
		clear(k.material[:])
	}
	k.material, k.aead = nil, nil
}

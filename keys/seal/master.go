package seal

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// MasterKey is one version of a master key; what it encrypts, no other version
// decrypts. It is safe for concurrent use and prints as its URI and version.
//
// Everything a local one makes is a Tink ciphertext; a KMS makes its own, with
// the same associated data. Of a wrapped data key:
//
//	┌──────┬───────────┬───────────┬───────────────────────┬─────────┐
//	│ 0x01 │ version,4 │ nonce, 12 │ data key, encrypted 32│ tag, 16 │
//	└──────┴───────────┴───────────┴───────────────────────┴─────────┘
//	  Tink's  Tink key id,
//	  prefix  big-endian
//
//	associated data: "keyward data key", format, tenant id (16),
//	                 data key version (4, big-endian)
//
// A key check and an endorsement have the same layout. Both encrypt only the
// name of their purpose (not every KMS encrypts nothing at all); what counts
// is the associated data:
//
//	"keyward key check", format, id of the row (16)
//	"keyward endorsement", format, id (16), URI and version of the successor
//
// The authority key is wrapped as a data key is, with other associated data:
//
//	"keyward authority key", format, id of the master key's row (16)
type MasterKey struct {
	uri     string
	version string
	aead    tink.AEADWithContext
}

// URI returns the URI of the master key this is a version of.
func (m *MasterKey) URI() string { return m.uri }

// Version returns the name of this version: for a Tink keyset its key id in
// decimal, for a key in a KMS when Keyward was given it. It is unique within
// the URI.
func (m *MasterKey) Version() string { return m.version }

// WrapDataKey encrypts a tenant's data key; version is that of the data key.
func (m *MasterKey) WrapDataKey(ctx context.Context, tenantID uuid.UUID, version int32, k *DataKey) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.material == nil {
		return nil, ErrDestroyed
	}
	return m.encrypt(ctx, k.material[:], dataKeyAD(tenantID, version))
}

// UnwrapDataKey decrypts a data key that WrapDataKey of the same master key
// version wrapped for the same tenant and data key version. Errors:
// ErrCannotOpen.
func (m *MasterKey) UnwrapDataKey(ctx context.Context, tenantID uuid.UUID, version int32, wrapped []byte) (*DataKey, error) {
	return m.unwrap(ctx, wrapped, dataKeyAD(tenantID, version))
}

func (m *MasterKey) unwrap(ctx context.Context, wrapped, ad []byte) (*DataKey, error) {
	plain, err := m.decrypt(ctx, wrapped, ad)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if len(plain) != dataKeySize {
		return nil, ErrCannotOpen
	}
	material := [dataKeySize]byte(plain)
	return newDataKey(&material)
}

// WrapAuthorityKey encrypts the authority key for the row id of this master key.
func (m *MasterKey) WrapAuthorityKey(ctx context.Context, id uuid.UUID, k *DataKey) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.material == nil {
		return nil, ErrDestroyed
	}
	return m.encrypt(ctx, k.material[:], authorityKeyAD(id))
}

// UnwrapAuthorityKey decrypts what WrapAuthorityKey of the same master key version
// made for the same row; else it fails with ErrCannotOpen.
func (m *MasterKey) UnwrapAuthorityKey(ctx context.Context, id uuid.UUID, wrapped []byte) (*DataKey, error) {
	return m.unwrap(ctx, wrapped, authorityKeyAD(id))
}

// KeyCheck returns a value that only this master key version can have made for
// the row id. Kept in the database, it tells a wrong master key at start-up,
// before anything is served or sealed.
func (m *MasterKey) KeyCheck(ctx context.Context, id uuid.UUID) ([]byte, error) {
	return m.attest(ctx, forKeyCheck, keyCheckAD(id))
}

// VerifyKeyCheck fails with ErrWrongMasterKey unless KeyCheck of this master
// key version made check for the row id.
func (m *MasterKey) VerifyKeyCheck(ctx context.Context, id uuid.UUID, check []byte) error {
	return m.verify(ctx, forKeyCheck, keyCheckAD(id), check)
}

// Successor names the master key version that comes after another one.
type Successor struct {
	ID      uuid.UUID // of its row
	URI     string
	Version string
}

// Endorse vouches for s in the name of this master key version. Whoever can
// only write the database can't make an endorsement, and so can't introduce a
// master key of his own.
func (m *MasterKey) Endorse(ctx context.Context, s Successor) ([]byte, error) {
	return m.attest(ctx, forEndorsement, endorsementAD(s))
}

// VerifyEndorsement fails with ErrWrongMasterKey unless this master key
// version made the endorsement for exactly s.
func (m *MasterKey) VerifyEndorsement(ctx context.Context, s Successor, endorsement []byte) error {
	return m.verify(ctx, forEndorsement, endorsementAD(s), endorsement)
}

func (m *MasterKey) attest(ctx context.Context, p purpose, ad []byte) ([]byte, error) {
	return m.encrypt(ctx, []byte(p), ad)
}

func (m *MasterKey) verify(ctx context.Context, p purpose, ad, attested []byte) error {
	plain, err := m.decrypt(ctx, attested, ad)
	if err != nil && !errors.Is(err, ErrCannotOpen) {
		return err
	}
	if err != nil || subtle.ConstantTimeCompare(plain, []byte(p)) != 1 {
		return fmt.Errorf("%w: %s", ErrWrongMasterKey, m)
	}
	return nil
}

func (m *MasterKey) encrypt(ctx context.Context, plain, ad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := m.aead.EncryptWithContext(ctx, plain, ad)
	if err != nil {
		return nil, fmt.Errorf("encrypt under %s: %w", m, err)
	}
	return out, nil
}

// decrypt fails with ErrCannotOpen, or because a call did not get through.
func (m *MasterKey) decrypt(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	plain, err := m.aead.DecryptWithContext(ctx, ciphertext, ad)
	if err == nil || errors.Is(err, ErrCannotOpen) {
		return plain, err
	}
	return nil, fmt.Errorf("decrypt under %s: %w", m, err)
}

// String returns "master key <URI> version <version>", nothing secret.
func (m *MasterKey) String() string {
	return fmt.Sprintf("master key %s version %s", Redact(m.uri), m.version)
}

// Format writes String for every verb, so that no verb reaches the key.
func (m *MasterKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, m.String()) }

// LogValue returns String.
func (m *MasterKey) LogValue() slog.Value { return slog.StringValue(m.String()) }

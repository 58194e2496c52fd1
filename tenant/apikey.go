package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// APIKey is a credential without its secret, which only its holder has.
type APIKey struct {
	ID         uuid.UUID
	TenantID   *uuid.UUID // nil: the platform's
	Role       Role
	Name       string
	CreatedAt  time.Time
	ExpiresAt  *time.Time // nil: never
	LastUsedAt *time.Time // flushed from time to time
	CreatedBy  *audit.Actor
}

// NewAPIKey is a request to create a credential.
type NewAPIKey struct {
	TenantID  *uuid.UUID // nil: the platform's
	Role      Role
	Name      string
	ExpiresAt *time.Time // nil: never
}

func (n NewAPIKey) validate(now time.Time) error {
	var broken fields
	switch {
	case n.TenantID == nil && (!n.Role.Valid() || !n.Role.OfPlatform()):
		broken.add("role", "must be platform_admin or platform_auditor")
	case n.TenantID != nil && (!n.Role.Valid() || n.Role.OfPlatform()):
		broken.add("role", "must be tenant_admin, tenant_signer, tenant_auditor or tenant_verifier")
	}
	validateName(&broken, n.Name)
	if n.ExpiresAt != nil && (!n.ExpiresAt.After(now) || n.ExpiresAt.After(endOfTime)) {
		broken.add("expires_at", "must be in the future, and before 9999-12-31")
	}
	return broken.fieldErrors()
}

// A key is "kw_<id>_<secret>": the id as 32 hex digits, the secret as 52
// characters of base32 (RFC 4648 section 6) in lower case, which encode 32 random
// bytes. The database stores the SHA-256 of the whole text: 256 random bits need no
// slower hash, and the id in the text binds the hash to its row.
const (
	keyAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	keyIDSize   = 32 // characters
	keySize     = len("kw_") + keyIDSize + len("_") + 52
)

var secretText = base32.NewEncoding(keyAlphabet).WithPadding(base32.NoPadding)

// newKey returns the key of a new credential, and its hash to be stored.
func newKey(id uuid.UUID) (key string, hash []byte) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	key = "kw_" + hex.EncodeToString(id[:]) + "_" + secretText.EncodeToString(secret[:])
	return key, hashKey(key)
}

// parseKey returns the id in a key of the form ^kw_([0-9a-f]{32})_[a-z2-7]{52}$. It
// runs for every request.
func parseKey(key string) (id uuid.UUID, ok bool) {
	if len(key) != keySize {
		return uuid.Nil, false
	}
	text, secret := key[3:3+keyIDSize], key[3+keyIDSize+1:]
	if key[:3] != "kw_" || key[3+keyIDSize] != '_' || !consistsOf(text, "0123456789abcdef") || !consistsOf(secret, keyAlphabet) {
		return uuid.Nil, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}

func consistsOf(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

func hashKey(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

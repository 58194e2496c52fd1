// Package moving reads the signing keys of other systems and plans their import
// into a tenant.
//
// Internal to Keyward: no compatibility promise.
//
// It guarantees that no error and no plan contains key material, that a key keeps
// its kid, and that a repeated plan skips the keys already imported. It trusts its
// caller with the source, and no content of the source: documents have size
// limits, paths stay inside their directory, and the API validates every key again.
package moving

import (
	"errors"
	"log/slog"
	"time"

	"github.com/keyward/keyward/keys/keyfile"
)

// Errors of all readers. They wrap the cause, never the text that was read.
var (
	ErrUnreadable = errors.New("the source cannot be read")
	ErrFormat     = errors.New("the source has an unexpected format")
)

// maxSource limits a document, in bytes.
const maxSource = 1 << 20

// Secret is key material. It prints and marshals as [redacted].
type Secret []byte

const redacted = "[redacted]"

// String hides the material.
func (Secret) String() string { return redacted }

// GoString hides it from %#v.
func (Secret) GoString() string { return redacted }

// MarshalText hides it from encoding/json and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides it from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Key is a key of a source.
type Key struct {
	KID          string
	Alg          string      // empty: unknown
	Algs         []string    // all, if the source has the key for several, Alg first; set by Plan
	State        string      // in the source's terms
	ExpiresAt    time.Time   // expiry at the source; zero: none
	Public       JWK         // without private members
	Private      Secret      // PEM or JWK; nil: not in the source, or not needed
	Note         string      // for the plan
	SkipReason   string      // why an import is pointless; empty: it is not
	Stranger     bool        // it is skipped because it is no key for signatures, or of a kind that Keyward does not have
	RefuseReason string      // why an import is impossible; empty: it is not
	parsed       keyfile.Key // the public half, unless it is skipped or refused
	hasPrivate   bool        // the source has its private key, read here or not
	verifyOnly   bool        // the source does not sign with it, although it has the private key
	fault        string      // why the import would refuse its public half; set by Plan
	twin         bool        // it comes in with another entry of the same key; set by Plan
	twinOf       int         // the place of that entry in the plan
}

// Readers return keys in signing order: the first private key of an algorithm
// is the source's signing key.

// Settings are the options of readers.
type Settings struct {
	Alg string // of keys without one, if it fits; empty: refuse those
}

// Wipe clears the private keys.
func Wipe(keys []Key) {
	for _, k := range keys {
		clear(k.Private)
	}
}

func unixMilli(ms float64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

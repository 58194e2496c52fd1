// Package moving reads the signing keys of other systems where those keep
// them, and plans what becomes of each at Keyward.
//
// It guarantees that no error and no plan repeats key material, that no key
// changes its kid, and that planning against a tenant that has some of the
// keys already plans the rest alone. It trusts whoever runs it with the source
// and nothing that the source says: what is read is bounded, paths do not
// leave their directory, and Keyward judges every key again when it comes in.
package moving

import (
	"errors"
	"log/slog"
	"time"
)

// Errors of all readers. They wrap what happened, never what was read.
var (
	ErrUnreadable = errors.New("the source cannot be read")
	ErrFormat     = errors.New("the source is not in the form that was expected")
)

// maxSource bounds a document in bytes.
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

// Key is a key as its source has it.
type Key struct {
	KID     string
	Alg     string    // empty: nothing says it
	State   string    // in the words of the source
	Ends    time.Time // when the source lets it go; zero: it does not say
	Public  JWK       // without private members
	Private Secret    // PEM or JWK; nil: the source has none, or none that is wanted
	Note    string    // for people
	Stays   string    // why there is no point in moving it; empty: there is
	Refused string    // why it cannot move although there would be a point
}

// readers give keys in the order in which they should sign: of the private
// keys of an algorithm the first is the one that signs there.

// Settings are what a reader has to be told.
type Settings struct {
	Alg string // of keys that do not say it, as far as it fits them; empty: refuse those
}

// Wipe clears the private keys.
func Wipe(keys []Key) {
	for _, k := range keys {
		clear(k.Private)
	}
}

func unixMilli(ms float64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

package moving

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/keyfile"
)

// maxKeys limits the keys of one source.
const maxKeys = 1000

// JWK is the public part of a JSON Web Key (RFC 7517).
type JWK struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv,omitempty"`
	X      string   `json:"x,omitempty"`
	Y      string   `json:"y,omitempty"`
	N      string   `json:"n,omitempty"`
	E      string   `json:"e,omitempty"`
	Pub    string   `json:"pub,omitempty"`
	KID    string   `json:"kid,omitempty"`
	Alg    string   `json:"alg,omitempty"`
	Use    string   `json:"use,omitempty"`
	KeyOps []string `json:"-"`
}

// Thumbprint returns the SHA-256 thumbprint (RFC 7638), which identifies a key
// independently of its kid.
func (j JWK) Thumbprint() string {
	if thumbprint, ok := j.canonicalThumbprint(); ok {
		return thumbprint
	}
	members := map[string]string{"kty": j.Kty}
	for name, value := range map[string]string{"crv": j.Crv, "x": j.X, "y": j.Y, "n": j.N, "e": j.E, "pub": j.Pub} {
		if value != "" {
			members[name] = value
		}
	}
	if j.Kty == "AKP" {
		members["alg"] = j.Alg // RFC 9964
	}
	text, _ := json.Marshal(members) // keys are sorted; strings cannot fail
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parseSet parses a JWK Set. state names the state of a key in the source.
func parseSet(text []byte, s Settings, state func(private bool) string) ([]Key, error) {
	text = keyfile.Text(text)
	if countMembers(text, "keys") > 1 {
		return nil, fmt.Errorf("%w: it has the member keys twice, of which decoders read one", ErrFormat)
	}
	entries, err := keyfile.Entries(text)
	switch {
	case err != nil:
		return nil, formatError("it is not a JWK Set (RFC 7517 section 5): it", err)
	case len(entries) == 1 && countMembers(text, "keys") == 0 && !isJWK(text):
		return nil, fmt.Errorf("%w: it is not a JWK Set (RFC 7517 section 5)", ErrFormat)
	case len(entries) > maxKeys:
		return nil, fmt.Errorf("%w: it has %s, more than %d", ErrFormat, plural.Count(len(entries), "key"), maxKeys)
	}
	keys := make([]Key, 0, len(entries))
	for i, raw := range entries {
		k := parseJWK(raw, fmt.Sprintf("keys[%d]", i), s)
		k.State = state(k.hasPrivate)
		keys = append(keys, k)
	}
	return keys, nil
}

// countMembers returns how often a JSON object has a member, in any case, as package json
// matches names: it would keep the last and lose the others.
func countMembers(object []byte, name string) (n int) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return 0
	}
	for dec.More() {
		member, err := dec.Token()
		if err != nil {
			return n
		}
		if text, is := member.(string); is && strings.EqualFold(text, name) {
			n++
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return n
		}
	}
	return n
}

// isJWK reports whether a text is a single JWK.
func isJWK(text []byte) bool {
	e, _ := keyfile.ReadEntry(text)
	return e.KTY != ""
}

// parseJWK parses a public or private key. place names it if it has no kid and no
// thumbprint.
func parseJWK(raw []byte, place string, s Settings) Key {
	e, _ := keyfile.ReadEntry(raw) // what is wrong with it, the judgement says
	k := Key{KID: e.KID, hasPrivate: e.Private, Public: JWK{
		Kty: e.KTY, Crv: e.CRV, X: e.X, Y: e.Y, N: e.N, E: e.E, Pub: e.Pub, KID: e.KID, Alg: e.Alg, Use: e.Use, KeyOps: e.KeyOps,
	}}
	got := keyfile.JudgePublic(raw)
	k.parsed, k.ExpiresAt, k.SkipReason, k.Stranger = got.Key, got.Key.Expires, got.Stranger, got.Stranger != ""
	if got.Err != nil {
		k.RefuseReason = keyfile.Fault(got.Err)
	}
	k.chooseAlgorithm(s)
	if thumbprint, ok := k.Public.canonicalThumbprint(); k.KID == "" && ok {
		k.KID, k.Note = thumbprint, "it has no kid at the source; this is its thumbprint"
	} else if k.KID == "" {
		k.KID = place
	}
	if e.Private && k.SkipReason == "" && k.RefuseReason == "" {
		k.Private = Secret(append([]byte(nil), raw...))
	}
	return k
}

// publicJWK converts a public key to a JWK.
func publicJWK(pub crypto.PublicKey) (j JWK, err error) {
	text, err := (&jose.JSONWebKey{Key: pub}).MarshalJSON()
	if err != nil {
		return j, fmt.Errorf("%w: a type of key without a JWK form", ErrFormat)
	}
	return j, json.Unmarshal(text, &j)
}

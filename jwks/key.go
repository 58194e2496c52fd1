package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// A Key is a public key of a set that verifies signatures.
type Key struct {
	id    string
	key   crypto.PublicKey
	alg   *algorithm // its own, or the usual one of its type
	fixed bool       // the set says so
}

// ID is the key's kid; "" if it has none.
func (k *Key) ID() string { return k.id }

// Algorithm is the alg of the key, or else what a key of its type usually
// signs with: RS256 for RSA, ES256, ES384 and ES512 by curve, EdDSA for OKP.
func (k *Key) Algorithm() jose.SignatureAlgorithm { return k.alg.name }

// Public is a *[rsa.PublicKey], an *[ecdsa.PublicKey] or an [ed25519.PublicKey].
func (k *Key) Public() crypto.PublicKey { return k.key }

// PEM is the public key as SubjectPublicKeyInfo in PEM (RFC 7468 section 13).
func (k *Key) PEM() string {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil { // cannot be: only the three types above are made
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// accepts says whether the key may verify a signature of that algorithm: the
// key's own alg decides, or its type if it names none (RFC 8725 section 3.1).
func (k *Key) accepts(a *algorithm) bool {
	if k.fixed {
		return k.alg.same(a)
	}
	return k.alg.kty == a.kty && k.alg.curve == a.curve
}

// Reasons why a key of a set is not used. They reach [Config.OnSkip].
var (
	errPrivate   = errors.New("it is a private or symmetric key, which has no place in a published set")
	errUse       = errors.New("it is not for signatures")
	errType      = errors.New("its type, curve or algorithm is unknown")
	errWeak      = errors.New("it is an RSA key of fewer than 2048 or more than 8192 bits, or with a bad exponent")
	errAlgorithm = errors.New("its alg is not one of its type")
)

// jwk has the members of RFC 7517 section 4 that decide about a key.
type jwk struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv"`
	Kid    string   `json:"kid"`
	Use    string   `json:"use"`
	Alg    string   `json:"alg"`
	KeyOps []string `json:"key_ops"`
}

// private are the members that only private and symmetric keys have (RFC 7518
// sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2, RFC 9964).
var private = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// parseKey reads one key of a set. It gives the kid with every error, as far
// as there is one.
func parseKey(raw json.RawMessage) (*Key, string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, "", fmt.Errorf("it is not a JSON object: %w", err)
	}
	var about jwk
	if err := json.Unmarshal(raw, &about); err != nil {
		return nil, "", fmt.Errorf("a member is of a wrong type: %w", err)
	}
	for _, name := range private {
		if _, has := members[name]; has || about.Kty == "oct" {
			return nil, about.Kid, errPrivate
		}
	}
	alg, err := about.algorithm()
	if err != nil {
		return nil, about.Kid, err
	}
	public, err := importKey(members)
	if err == nil {
		err = strong(public)
	}
	return &Key{id: about.Kid, key: public, alg: alg, fixed: about.Alg != ""}, about.Kid, err
}

// algorithm says what the key verifies, if it is for that at all.
func (j jwk) algorithm() (*algorithm, error) {
	if j.Use != "" && j.Use != "sig" || !j.verifies() {
		return nil, errUse
	}
	if j.Kty == "RSA" {
		j.Crv = ""
	}
	typical := usual(j.Kty, j.Crv)
	if typical == nil {
		return nil, errType
	}
	if j.Alg == "" {
		return typical, nil
	}
	own := named(j.Alg)
	if own == nil || own.kty != typical.kty || own.curve != typical.curve {
		return nil, errAlgorithm
	}
	return own, nil
}

// verifies is true if key_ops allows it, or is absent (RFC 7517 section 4.3).
func (j jwk) verifies() bool {
	for _, op := range j.KeyOps {
		if op == "verify" {
			return true
		}
	}
	return j.KeyOps == nil
}

// importKey makes the key of its own members alone. Certificates are left out:
// no chain is verified here, so they could say nothing.
func importKey(members map[string]json.RawMessage) (crypto.PublicKey, error) {
	bare := map[string]json.RawMessage{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if value, has := members[name]; has {
			bare[name] = value
		}
	}
	raw, err := json.Marshal(bare)
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("it cannot be imported: %w", err)
	}
	return key.Key, nil
}

// strong refuses what RFC 7518 section 3.3 does, and what would only cost time.
func strong(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 || key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 {
			return errWeak
		}
		return nil
	case *ecdsa.PublicKey:
		_, err := key.ECDH() // on the curve, and not the point at infinity
		return err
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return nil
		}
	}
	return errType
}

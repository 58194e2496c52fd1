package keyfile

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/mldsa"
	"crypto/rsa"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
)

// Where key material is in a request, as its errors name it.
const (
	FieldPrivate = "private_key"
	FieldPublic  = "public_key"
)

// MaxKeys bounds how many keys one import brings in.
const MaxKeys = 64

// Key is a key that comes from elsewhere. It is whole and strong enough
// when a parser returns it; whether it fits an algorithm is asked by [Key.Algorithm].
type Key struct {
	Field   string // where it is in the request: private_key, public_key.keys[2]
	Index   int    // in its JWK Set
	Private crypto.Signer
	Public  crypto.PublicKey
	KID     string                    // its JWK's own; empty: it has none
	Alg     jose.SignatureAlgorithm   // likewise
	Expires time.Time                 // likewise; zero: never
	pss     []jose.SignatureAlgorithm // of an RSASSA-PSS key: the algorithms that it is restricted to
}

// ParsePrivate reads one private key: PEM with PKCS#8 (RFC 5958), PKCS#1 (RFC
// 8017 appendix A.1.2) or SEC 1 (RFC 5915), or a JWK (RFC 7517). It derives the
// public half and refuses a different one in the input. Errors:
// [*tokens.ClaimError], without key material.
func ParsePrivate(material []byte) (Key, error) {
	material = Text(material)
	switch {
	case looksLikeJSON(material):
		return privateJWK(material)
	case looksLikePEM(material):
		return privatePEM(material)
	}
	return Key{}, tokens.Invalid(FieldPrivate, "is neither PEM (-----BEGIN …) nor a JWK (a JSON object); DER becomes PEM with: openssl pkey -inform DER -in key.der -out key.pem")
}

// ParsePublic reads public keys: one of a PEM file or a JWK, or the signature
// keys of a JWK Set. Errors: [*tokens.ClaimError].
func ParsePublic(material []byte) (Set, error) {
	material = Text(material)
	switch {
	case looksLikeJSON(material):
		return publicJWKs(material)
	case looksLikePEM(material):
		b, err := publicPEM(material)
		return Set{Keys: []Key{b}}, err
	}
	return Set{}, tokens.Invalid(FieldPublic, "is neither PEM (-----BEGIN …) nor a JWK or JWK Set (a JSON object)")
}

func looksLikeJSON(material []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(material), []byte("{"))
}

func looksLikePEM(material []byte) bool { return bytes.Contains(material, []byte("-----BEGIN ")) }

// Algorithm returns the key's algorithm. The requested one and the JWK's alg
// must agree, except that EdDSA and Ed25519 are interchangeable and the
// requested one is used. A key without either has its usual one. Errors:
// [*tokens.ClaimError].
func (b Key) Algorithm(asked jose.SignatureAlgorithm) (jose.SignatureAlgorithm, error) {
	if asked != "" && b.Alg != "" && asked != b.Alg && !(keys.KeyType(asked) == "OKP" && keys.KeyType(b.Alg) == "OKP") {
		return "", tokens.Invalid("alg", "is not the alg that the JWK says it is for")
	}
	name := cmp.Or(asked, b.Alg, b.UsualAlgorithm())
	if b.pss != nil {
		if name == "" && len(b.pss) > 0 {
			name = b.pss[0]
		}
		if !slices.Contains(b.pss, name) {
			return "", tokens.Invalid("alg", b.pssRule())
		}
	}
	if name == "" {
		return "", tokens.Invalid("alg", "is required, since the key does not say which algorithm it is for: give one (alg, --alg)")
	}
	alg, err := keys.ParseAlgorithm(string(name))
	switch {
	case err != nil && asked == "":
		return "", tokens.Invalid(b.Field+".alg", "must be one of "+keys.AlgorithmNames())
	case err != nil:
		return "", tokens.Invalid("alg", "must be one of "+keys.AlgorithmNames())
	case keys.CheckPublic(alg, b.Public) != nil:
		return "", tokens.Invalid(b.Field, "is "+kindOfKey(b.Public)+", but "+string(alg)+" signs with "+neededKey(alg))
	}
	return alg, nil
}

// ChooseAlgorithm returns the algorithm of one key of several: its own, else fallback if
// the key fits it, else its usual one. Errors: [*tokens.ClaimError].
func (b Key) ChooseAlgorithm(fallback jose.SignatureAlgorithm) (jose.SignatureAlgorithm, error) {
	if b.Alg != "" || b.pss != nil && !slices.Contains(b.pss, fallback) || b.UsualAlgorithm() != "" && !b.Fits(fallback) {
		fallback = ""
	}
	return b.Algorithm(fallback)
}

// pssNone is why an RSASSA-PSS key is refused that no algorithm may use.
const pssNone = "is an RSASSA-PSS key that is restricted to a hash, a mask or a salt that PS256, PS384 and PS512 do not have"

// pssRule says which algorithms an RSASSA-PSS key may have.
func (b Key) pssRule() string {
	if len(b.pss) == 0 {
		return "fits no key such as this, which " + pssNone
	}
	return fmt.Sprintf("is not one that this RSASSA-PSS key may sign with: %s", b.pss)
}

// UsualAlgorithm returns the algorithm of a key that does not name one: the single one of
// an EC key (RFC 7518 section 3.4) or an ML-DSA key (RFC 9964), EdDSA of an Ed25519 key;
// empty for RSA keys, which have several.
func (b Key) UsualAlgorithm() jose.SignatureAlgorithm {
	if keys.KeyType(b.fittingAlgorithm()) == "RSA" {
		return ""
	}
	return b.fittingAlgorithm()
}

// Fits reports whether the algorithm can use the key.
func (b Key) Fits(alg jose.SignatureAlgorithm) bool { return keys.CheckPublic(alg, b.Public) == nil }

// fittingAlgorithm returns the first algorithm that can use the key, empty if
// none can.
func (b Key) fittingAlgorithm() jose.SignatureAlgorithm {
	for _, alg := range keys.Algorithms() {
		if keys.CheckPublic(alg, b.Public) == nil {
			return alg
		}
	}
	return ""
}

func kindOfKey(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("an RSA key of %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "an EC key on " + k.Curve.Params().Name
	case *mldsa.PublicKey:
		return "an " + k.Parameters().String() + " key"
	}
	return "an Ed25519 key"
}

// neededKey describes the keys of an algorithm.
func neededKey(alg jose.SignatureAlgorithm) string {
	switch keys.KeyType(alg) {
	case "EC":
		return "an EC key on " + keys.Curve(alg).Params().Name
	case "OKP":
		return "an Ed25519 key"
	case "AKP":
		return "an " + string(alg) + " key"
	}
	return fmt.Sprintf("an RSA key of %d bits or more", keys.MinRSABits)
}

// ChooseKID returns the requested kid, else the JWK's own, else the thumbprint.
// It refuses a key whose own kid has an unsupported form, because its tokens
// name that kid. Errors: [*tokens.ClaimError].
func (b Key) ChooseKID(asked string) (string, error) {
	switch {
	case asked != "" && !keys.ValidKID(asked):
		return "", tokens.Invalid("kid", "must be "+keys.KIDRule)
	case asked != "":
		return asked, nil
	case b.KID != "" && !keys.ValidKID(b.KID):
		return "", tokens.Invalid(b.Field+".kid", "must be "+keys.KIDRule+"; give another, or take it out: tokens that name it verify nowhere then")
	case b.KID != "":
		return b.KID, nil
	}
	return keys.Thumbprint(b.Public)
}

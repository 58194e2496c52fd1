package keys

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// Where key material is in a request, as its errors name it.
const (
	fieldPrivate = "private_key"
	fieldPublic  = "public_key"
)

// maxBrought bounds how many keys one import brings in.
const maxBrought = 64

// brought is a key that comes from elsewhere. It is whole and strong enough
// when a parser returns it; whether it fits an algorithm is asked by [brought.algorithm].
type brought struct {
	field   string // where it is in the request: private_key, public_key.keys[2]
	private crypto.Signer
	public  crypto.PublicKey
	kid     string                  // its JWK's own; empty: it has none
	alg     jose.SignatureAlgorithm // likewise
}

// parsePrivateKey reads one private key: PEM with PKCS#8 (RFC 5958), PKCS#1
// (RFC 8017 appendix A.1.2) or SEC 1 (RFC 5915), or a JWK (RFC 7517). The
// public half is derived; one that came along has to be the same. The error is
// a [*ClaimError] that repeats nothing of the material.
func parsePrivateKey(material []byte) (brought, error) {
	switch {
	case looksLikeJSON(material):
		return privateJWK(material)
	case looksLikePEM(material):
		return privatePEM(material)
	}
	return brought{}, invalid(fieldPrivate, "is neither PEM (-----BEGIN …) nor a JWK (a JSON object); DER becomes PEM with: openssl pkey -inform DER -in key.der -out key.pem")
}

// parsePublicKeys reads public keys: one from PEM or a JWK, those for
// signatures from a JWK Set. The error is a [*ClaimError].
func parsePublicKeys(material []byte) (keys []brought, set bool, err error) {
	switch {
	case looksLikeJSON(material):
		return publicJWKs(material)
	case looksLikePEM(material):
		b, err := publicPEM(material)
		return []brought{b}, false, err
	}
	return nil, false, invalid(fieldPublic, "is neither PEM (-----BEGIN …) nor a JWK or JWK Set (a JSON object)")
}

func looksLikeJSON(material []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(material), []byte("{"))
}

func looksLikePEM(material []byte) bool { return bytes.Contains(material, []byte("-----BEGIN ")) }

// algorithm is the one that the key is for: what the request says and what the
// JWK says must agree, except that EdDSA and Ed25519 are two names for one
// thing and the request's counts. An EC key without either has its curve's.
func (b brought) algorithm(asked jose.SignatureAlgorithm) (jose.SignatureAlgorithm, error) {
	if asked != "" && b.alg != "" && asked != b.alg && !(KeyType(asked) == "OKP" && KeyType(b.alg) == "OKP") {
		return "", invalid("alg", "is not the alg that the JWK says it is for")
	}
	name := cmp.Or(asked, b.alg, b.onlyAlgorithm())
	if name == "" {
		return "", invalid("alg", "is required: the key does not say which algorithm it is for")
	}
	alg, err := ParseAlgorithm(string(name))
	switch {
	case err != nil && asked == "":
		return "", invalid(b.field+".alg", "must be one of "+AlgorithmNames())
	case err != nil:
		return "", invalid("alg", "must be one of "+AlgorithmNames())
	case CheckPublic(alg, b.public) != nil:
		return "", invalid(b.field, "is "+kindOfKey(b.public)+", but "+string(alg)+" signs with "+neededKey(alg))
	}
	return alg, nil
}

// onlyAlgorithm is the one that an EC key can sign by (RFC 7518 section 3.4).
func (b brought) onlyAlgorithm() jose.SignatureAlgorithm {
	k, _ := b.public.(*ecdsa.PublicKey)
	for _, alg := range Algorithms() {
		if k != nil && Curve(alg) == k.Curve {
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
	}
	return "an Ed25519 key"
}

// neededKey says what keys an algorithm signs with.
func neededKey(alg jose.SignatureAlgorithm) string {
	switch KeyType(alg) {
	case "EC":
		return "an EC key on " + Curve(alg).Params().Name
	case "OKP":
		return "an Ed25519 key"
	}
	return fmt.Sprintf("an RSA key of %d bits or more", MinRSABits)
}

// name is the kid asked for, else the JWK's own, else the thumbprint. A public
// key whose own kid cannot be kept is refused, since the tokens it is here for
// name that kid.
func (b brought) name(asked string) (string, error) {
	const pattern = "1 to 128 letters, digits or . _ ~ -, and not one or two dots alone"
	switch {
	case asked != "" && !ValidKID(asked):
		return "", invalid("kid", "must be "+pattern)
	case asked != "":
		return asked, nil
	case b.kid != "" && !ValidKID(b.kid):
		return "", invalid(b.field+".kid", "is not one that is served here ("+pattern+"); give another, or take it out: tokens that name it verify nowhere then")
	case b.kid != "":
		return b.kid, nil
	}
	return Thumbprint(b.public)
}

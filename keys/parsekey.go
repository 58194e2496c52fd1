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
func (b brought) algorithm(asked jose.SignatureAlgorithm) (algorithm, error) {
	if asked != "" && b.alg != "" && asked != b.alg && !(KeyType(asked) == "OKP" && KeyType(b.alg) == "OKP") {
		return algorithm{}, invalid("alg", "is not the alg that the JWK says it is for")
	}
	name := cmp.Or(asked, b.alg, b.onlyAlgorithm())
	if name == "" {
		return algorithm{}, invalid("alg", "is required: the key does not say which algorithm it is for")
	}
	a, err := lookup(name)
	switch {
	case err != nil && asked == "":
		return a, invalid(b.field+".alg", "must be one of "+algorithmNames())
	case err != nil:
		return a, invalid("alg", "must be one of "+algorithmNames())
	case a.fits(b.public) != nil:
		return a, invalid(b.field, "is "+kindOfKey(b.public)+", but "+string(a.name)+" signs with "+a.needs())
	}
	return a, nil
}

// onlyAlgorithm is the one that an EC key can sign by (RFC 7518 section 3.4).
func (b brought) onlyAlgorithm() jose.SignatureAlgorithm {
	k, _ := b.public.(*ecdsa.PublicKey)
	for _, a := range algorithms {
		if k != nil && a.curve == k.Curve {
			return a.name
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

func (a algorithm) needs() string {
	switch a.kty {
	case "EC":
		return "an EC key on " + a.crv
	case "OKP":
		return "an Ed25519 key"
	}
	return fmt.Sprintf("an RSA key of %d bits or more", MinRSABits)
}

// halves reports whether the private key signs what the public one verifies
// (the pairwise consistency test of NIST SP 800-56B section 6.4.1.1).
func (p Private) halves() bool {
	input := []byte("keyward import")
	signature, err := p.sign(input)
	return err == nil && verifySignature(p.Public(), p.alg.name, input, signature)
}

// samePublic reports whether two public keys are one.
func samePublic(a, b crypto.PublicKey) bool {
	k, comparable := a.(interface{ Equal(crypto.PublicKey) bool })
	return comparable && k.Equal(b)
}

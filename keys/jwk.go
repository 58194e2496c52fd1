package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"regexp"

	"github.com/go-jose/go-jose/v4"
)

// ErrKID says that a kid is not one that Keyward uses.
var ErrKID = errors.New("keys: a kid is 1 to 128 letters, digits or . _ ~ - and not one or two dots alone")

var kidPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)

// ValidKID reports whether a kid can be part of a URL path as it is: RFC 3986
// section 2.3, without the two names that section 3.3 gives a meaning.
func ValidKID(kid string) bool {
	return kidPattern.MatchString(kid) && kid != "." && kid != ".."
}

// publicJWK is a JWK with its public members, in the order they are written
// (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2). There is no
// field for a private one.
type publicJWK struct {
	KTY string `json:"kty"`
	KID string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	CRV string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// PublicJWK is the public key as a JWK for signatures: the same bytes for the
// same key, always. Errors: [ErrUnsupportedAlgorithm], [ErrKeyMaterial], [ErrKID].
func PublicJWK(pub crypto.PublicKey, alg jose.SignatureAlgorithm, kid string) (json.RawMessage, error) {
	a, err := lookup(alg)
	if err != nil {
		return nil, err
	}
	if err := a.fits(pub); err != nil {
		return nil, err
	}
	if !ValidKID(kid) {
		return nil, ErrKID
	}
	jwk, err := members(pub)
	if err != nil {
		return nil, err
	}
	jwk.KID, jwk.Use, jwk.Alg = kid, "sig", string(alg)
	return json.Marshal(jwk)
}

// members are those that make the key what it is.
func members(pub crypto.PublicKey) (publicJWK, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return publicJWK{KTY: "RSA", N: b64(k.N.Bytes()), E: b64(big.NewInt(int64(k.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, X, Y: both padded to the full length
		if err != nil {
			return publicJWK{}, fmt.Errorf("%w: not a point of its curve", ErrKeyMaterial)
		}
		half := 1 + len(point)/2
		return publicJWK{KTY: "EC", CRV: k.Params().Name, X: b64(point[1:half]), Y: b64(point[half:])}, nil
	case ed25519.PublicKey:
		return publicJWK{KTY: "OKP", CRV: "Ed25519", X: b64(k)}, nil
	}
	return publicJWK{}, fmt.Errorf("%w: a public key of type %T", ErrKeyMaterial, pub)
}

// Thumbprint is the kid of a key that brings none: RFC 7638 with SHA-256, for
// OKP RFC 8037 section 2. Labels are no part of it, so an Ed25519 key has the
// same one as EdDSA and as Ed25519.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	m, err := members(pub)
	if err != nil {
		return "", err
	}
	// RFC 7638 section 3.3: required members, in lexicographic order, no space.
	var input string
	switch m.KTY {
	case "RSA":
		input = fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, m.E, m.N)
	case "EC":
		input = fmt.Sprintf(`{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`, m.CRV, m.X, m.Y)
	default:
		input = fmt.Sprintf(`{"crv":"%s","kty":"OKP","x":"%s"}`, m.CRV, m.X)
	}
	sum := sha256.Sum256([]byte(input))
	return b64(sum[:]), nil
}

// ParsePublicJWK returns the key of a public JWK that fits the algorithm. It
// checks that an EC point is on its curve. Errors: [ErrUnsupportedAlgorithm],
// [ErrKeyMaterial].
func ParsePublicJWK(alg jose.SignatureAlgorithm, jwk []byte) (crypto.PublicKey, error) {
	a, err := lookup(alg)
	if err != nil {
		return nil, err
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(jwk); err != nil || !parsed.IsPublic() || !parsed.Valid() {
		return nil, fmt.Errorf("%w: not a public JWK", ErrKeyMaterial)
	}
	if err := a.fits(parsed.Key); err != nil {
		return nil, err
	}
	return parsed.Key, nil
}

// renders says whether jwk is what [PublicJWK] writes for a key of the
// algorithm, as far as that can be seen without taking the key for a number:
// its members are those, in their order, and no others.
func (a algorithm) renders(kid string, jwk []byte) bool {
	p := jwkText{jwk}
	ok := p.is(`{"kty":"`, a.kty, `","kid":"`, kid, `","use":"sig","alg":"`, string(a.name), `"`)
	switch a.kty {
	case "EC":
		coordinate := base64.RawURLEncoding.EncodedLen(a.coordinate())
		return ok && p.is(`,"crv":"`, a.crv, `","x":"`) && p.number() == coordinate && p.is(`","y":"`) && p.number() == coordinate && p.ends()
	case "OKP":
		return ok && p.is(`,"crv":"`, a.crv, `","x":"`) && p.number() == base64.RawURLEncoding.EncodedLen(ed25519.PublicKeySize) && p.ends()
	default:
		return ok && p.is(`,"n":"`) && p.number() >= base64.RawURLEncoding.EncodedLen(MinRSABits/8) && p.is(`","e":"`) && p.number() > 0 && p.ends()
	}
}

// jwkText is what is left of a JWK.
type jwkText struct{ rest []byte }

// is passes texts that must come next.
func (t *jwkText) is(texts ...string) bool {
	for _, text := range texts {
		if len(t.rest) < len(text) || string(t.rest[:len(text)]) != text {
			return false
		}
		t.rest = t.rest[len(text):]
	}
	return true
}

// number passes base64url and returns how long it was.
func (t *jwkText) number() (n int) {
	for n < len(t.rest) && isBase64URL[t.rest[n]] {
		n++
	}
	t.rest = t.rest[n:]
	return n
}

func (t *jwkText) ends() bool { return string(t.rest) == `"}` }

// isBase64URL has the alphabet of RFC 4648 section 5.
var isBase64URL = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		is[c] = true
	}
	return is
}()

// PublicDER is the key as its SubjectPublicKeyInfo (RFC 5280 section 4.1).
func PublicDER(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: a public key of type %T", ErrKeyMaterial, pub)
	}
	return der, nil
}

// PublicPEM is [PublicDER] as a PEM block (RFC 7468 section 13).
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := PublicDER(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// CheckPublicJWK says what is wrong with a key's public JWK.
func (k *Key) CheckPublicJWK() error {
	a, err := lookup(k.Alg)
	if err == nil && !a.renders(k.KID, k.PublicJWK) {
		_, err = ParsePublicJWK(a.name, k.PublicJWK)
	}
	if err != nil {
		return fmt.Errorf("keys: public key %s of tenant %s: %w", k.KID, k.TenantID, err)
	}
	return nil
}

package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// MaxKID is the greatest length of a kid in bytes.
const MaxKID = 256

// KIDRule says which kids are valid, for errors.
const KIDRule = "1 to 256 bytes of UTF-8 without control characters"

// ErrKID means that a kid has a form that Keyward does not accept.
var ErrKID = errors.New("keys: a kid is " + KIDRule)

// ValidKID reports whether Keyward can carry a kid: any string (RFC 7517 section
// 4.5) of 1 to [MaxKID] bytes of UTF-8 without control characters. In a URL it is
// one percent-encoded path segment.
func ValidKID(kid string) bool {
	return kid != "" && len(kid) <= MaxKID && utf8.ValidString(kid) && !strings.ContainsFunc(kid, unicode.IsControl)
}

// publicJWK is a JWK with its public members, in the order they are written
// (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2, RFC 9964). There
// is no field for a private one.
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
	Pub string `json:"pub,omitempty"`
}

// PublicJWK returns the public key as a JWK for signatures. The same key always
// gives the same bytes. Errors: [ErrUnsupportedAlgorithm], [ErrKeyMaterial],
// [ErrKID].
func PublicJWK(pub crypto.PublicKey, alg jose.SignatureAlgorithm, kid string) (json.RawMessage, error) {
	a, err := lookupAlgorithm(alg)
	if err != nil {
		return nil, err
	}
	if err := a.checkPublic(pub); err != nil {
		return nil, err
	}
	if !ValidKID(kid) {
		return nil, ErrKID
	}
	jwk, err := publicMembers(pub)
	if err != nil {
		return nil, err
	}
	jwk.KID, jwk.Use, jwk.Alg = kid, "sig", string(alg)
	return json.Marshal(jwk)
}

// publicMembers returns the members of a JWK that identify the key, without
// kid and use, and with alg for type AKP alone. Errors: [ErrKeyMaterial].
func publicMembers(pub crypto.PublicKey) (publicJWK, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return publicJWK{KTY: "RSA", N: encodeBase64URL(k.N.Bytes()), E: encodeBase64URL(big.NewInt(int64(k.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, X, Y: both padded to the full length
		if err != nil {
			return publicJWK{}, fmt.Errorf("%w: not a point of its curve", ErrKeyMaterial)
		}
		half := 1 + len(point)/2
		return publicJWK{KTY: "EC", CRV: k.Params().Name, X: encodeBase64URL(point[1:half]), Y: encodeBase64URL(point[half:])}, nil
	case ed25519.PublicKey:
		return publicJWK{KTY: "OKP", CRV: "Ed25519", X: encodeBase64URL(k)}, nil
	case *mldsa.PublicKey:
		return publicJWK{KTY: "AKP", Alg: k.Parameters().String(), Pub: encodeBase64URL(k.Bytes())}, nil
	}
	return publicJWK{}, fmt.Errorf("%w: a public key of type %T", ErrKeyMaterial, pub)
}

// Thumbprint returns the SHA-256 thumbprint of a key (RFC 7638, for OKP RFC
// 8037 section 2, for AKP RFC 9964), which is the kid of a generated key. It
// covers alg for AKP alone, so EdDSA and Ed25519 give the same one. Errors: [ErrKeyMaterial].
func Thumbprint(pub crypto.PublicKey) (string, error) {
	m, err := publicMembers(pub)
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
	case "AKP":
		input = fmt.Sprintf(`{"alg":"%s","kty":"AKP","pub":"%s"}`, m.Alg, m.Pub)
	default:
		input = fmt.Sprintf(`{"crv":"%s","kty":"OKP","x":"%s"}`, m.CRV, m.X)
	}
	sum := sha256.Sum256([]byte(input))
	return encodeBase64URL(sum[:]), nil
}

// ParsePublicJWK parses a public JWK, and checks that the algorithm can use the
// key and that an EC point is on its curve. Errors: [ErrUnsupportedAlgorithm],
// [ErrKeyMaterial].
func ParsePublicJWK(alg jose.SignatureAlgorithm, jwk []byte) (crypto.PublicKey, error) {
	a, err := lookupAlgorithm(alg)
	if err != nil {
		return nil, err
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(jwk); err != nil || !parsed.IsPublic() || !parsed.Valid() {
		return nil, fmt.Errorf("%w: not a public JWK", ErrKeyMaterial)
	}
	if err := a.checkPublic(parsed.Key); err != nil {
		return nil, err
	}
	return parsed.Key, nil
}

// isRendered reports whether jwk has the form that [PublicJWK] writes for a key
// of the algorithm: these members, in this order, and no others. It does not
// decode the numbers, so it is much faster than [ParsePublicJWK].
func (a algorithm) isRendered(kid string, jwk []byte) bool {
	if strings.ContainsFunc(kid, isEscaped) {
		return false // to be parsed
	}
	p := jwkText{jwk}
	ok := p.skipTexts(`{"kty":"`, a.kty, `","kid":"`, kid, `","use":"sig","alg":"`, string(a.name), `"`)
	switch a.kty {
	case "EC":
		coordinate := base64.RawURLEncoding.EncodedLen(a.coordinateSize())
		return ok && p.skipTexts(`,"crv":"`, a.crv, `","x":"`) && p.skipBase64URL() == coordinate && p.skipTexts(`","y":"`) && p.skipBase64URL() == coordinate && p.atEnd()
	case "OKP":
		return ok && p.skipTexts(`,"crv":"`, a.crv, `","x":"`) && p.skipBase64URL() == base64.RawURLEncoding.EncodedLen(ed25519.PublicKeySize) && p.atEnd()
	case "AKP":
		return ok && p.skipTexts(`,"pub":"`) && p.skipBase64URL() == base64.RawURLEncoding.EncodedLen(a.mldsa.PublicKeySize()) && p.atEnd()
	default:
		return ok && p.skipTexts(`,"n":"`) && p.skipBase64URL() >= base64.RawURLEncoding.EncodedLen(MinRSABits/8) && p.skipTexts(`","e":"`) && p.skipBase64URL() > 0 && p.atEnd()
	}
}

// isEscaped reports whether encoding/json may escape a character of a string.
func isEscaped(c rune) bool {
	return c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == '\u2028' || c == '\u2029'
}

// jwkText is the unread rest of a JWK.
type jwkText struct{ rest []byte }

// skipTexts skips texts and reports whether they came next, in this order.
func (t *jwkText) skipTexts(texts ...string) bool {
	for _, text := range texts {
		if len(t.rest) < len(text) || string(t.rest[:len(text)]) != text {
			return false
		}
		t.rest = t.rest[len(text):]
	}
	return true
}

// skipBase64URL skips base64url and returns its length in bytes.
func (t *jwkText) skipBase64URL() (n int) {
	for n < len(t.rest) && isBase64URL[t.rest[n]] {
		n++
	}
	t.rest = t.rest[n:]
	return n
}

// atEnd reports whether only the end of the object is left.
func (t *jwkText) atEnd() bool { return string(t.rest) == `"}` }

// isBase64URL marks the characters of base64url (RFC 4648 section 5).
var isBase64URL = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		is[c] = true
	}
	return is
}()

// PublicDER returns the key as SubjectPublicKeyInfo (RFC 5280 section 4.1).
// Errors: [ErrKeyMaterial].
func PublicDER(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: a public key of type %T", ErrKeyMaterial, pub)
	}
	return der, nil
}

// PublicPEM returns [PublicDER] as a PEM block (RFC 7468 section 13).
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := PublicDER(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func encodeBase64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// CheckPublicJWK checks that the key's public JWK has a valid key of its
// algorithm. The error names the key and its tenant.
func (k *Key) CheckPublicJWK() error {
	a, err := lookupAlgorithm(k.Alg)
	if err == nil && !a.isRendered(k.KID, k.PublicJWK) {
		_, err = ParsePublicJWK(a.name, k.PublicJWK)
	}
	if err != nil {
		return fmt.Errorf("keys: public key %s of tenant %s: %w", k.KID, k.TenantID, err)
	}
	return nil
}

// PublicJWKs returns the JWKs of the key in a JWK Set: one for each of its algorithms
// (RFC 7517 section 4.5 lets keys of one kid differ in other members). queries/fleet.sql
// renders the same. Errors: [ErrKeyMaterial].
func (k *Key) PublicJWKs() ([]json.RawMessage, error) {
	jwks := make([]json.RawMessage, 0, 1+len(k.Algs))
	jwks = append(jwks, k.PublicJWK)
	own := jwkAlg(k.Alg)
	for _, alg := range k.Algorithms()[1:] {
		if bytes.Count(k.PublicJWK, own) != 1 {
			return nil, fmt.Errorf("keys: public key %s of tenant %s: %w: not in the form of PublicJWK", k.KID, k.TenantID, ErrKeyMaterial)
		}
		jwks = append(jwks, bytes.Replace(k.PublicJWK, own, jwkAlg(alg), 1))
	}
	return jwks, nil
}

// jwkAlg returns the members use and alg as [PublicJWK] writes them. No kid contains
// them, because quotation marks inside a string are escaped.
func jwkAlg(alg jose.SignatureAlgorithm) []byte {
	return []byte(`"use":"sig","alg":"` + string(alg) + `"`)
}

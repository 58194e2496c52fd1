package keys

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Form is which of the compact forms a JWS takes. The zero value is the usual
// one.
type Form struct {
	Detached  bool // RFC 7515 appendix F: the payload is not in it
	Unencoded bool // RFC 7797: "b64": false, the payload is signed as it is
}

var errUnencodable = errors.New("keys: an unencoded payload that is not detached is printable ASCII without a dot")

// Sign makes a compact JWS (RFC 7515 section 5.1) over payload. head comes
// from [Header.Protect], with the same Unencoded. Errors wrap [ErrInvalid]
// where the payload cannot take the form.
func Sign(p Private, head Protected, payload []byte, f Form) (string, error) {
	if f.Unencoded && !f.Detached && !printable(payload) {
		return "", fmt.Errorf("%w: %w", ErrInvalid, errUnencodable)
	}
	encoded := len(payload)
	if !f.Unencoded {
		encoded = base64.RawURLEncoding.EncodedLen(encoded)
	}
	size := p.alg.signatureSize(p.Public())
	jws := make([]byte, 0, len(head)+encoded+2+base64.RawURLEncoding.EncodedLen(size))
	jws = append(append(jws, head...), '.')
	if f.Unencoded {
		jws = append(jws, payload...)
	} else {
		jws = base64.RawURLEncoding.AppendEncode(jws, payload)
	}
	signature, err := p.sign(jws)
	if err != nil {
		return "", err
	}
	if f.Detached {
		jws = jws[:len(head)+1]
	}
	jws = append(jws, '.')
	return string(base64.RawURLEncoding.AppendEncode(jws, signature)), nil
}

// sign is the signature over a JWS signing input as RFC 7518 sections 3.3 to
// 3.5 and RFC 8037 section 3.1 write it. ECDSA takes its nonces from key and
// message (RFC 6979), as RFC 8725 section 3.2 asks for: no weakness of random
// numbers gives the key away.
func (p Private) sign(input []byte) ([]byte, error) {
	if p.key == nil {
		return nil, fmt.Errorf("%w: no key", ErrKeyMaterial)
	}
	var opts crypto.SignerOpts = p.alg.hash
	random := rand.Reader
	switch {
	case p.alg.pss:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: p.alg.hash}
	case p.alg.kty == "EC":
		random = nil
	}
	signature, err := p.key().Sign(random, p.alg.digest(input), opts)
	if err != nil {
		return nil, fmt.Errorf("keys: sign with %s: %w", p.alg.name, err)
	}
	if p.alg.kty == "EC" {
		return p.alg.flatten(signature)
	}
	return signature, nil
}

// digest is what the key itself signs: for Ed25519 the message.
func (a algorithm) digest(input []byte) []byte {
	if a.hash == 0 {
		return input
	}
	h := a.hash.New()
	h.Write(input)
	return h.Sum(nil)
}

// flatten turns the ASN.1 of an ECDSA signature into R ‖ S, each padded to the
// length of a coordinate (RFC 7518 section 3.4).
func (a algorithm) flatten(der []byte) ([]byte, error) {
	var r, s []byte
	in, inner := cryptobyte.String(der), cryptobyte.String{}
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) ||
		len(r) > a.coordinate() || len(s) > a.coordinate() {
		return nil, errors.New("keys: an ECDSA signature of an unknown form")
	}
	size := a.coordinate()
	flat := make([]byte, 2*size)
	copy(flat[size-len(r):size], r)
	copy(flat[2*size-len(s):], s)
	return flat, nil
}

// printable is what RFC 7797 section 5.2 lets through unencoded in the compact
// form.
func printable(payload []byte) bool {
	for _, c := range payload {
		if c < ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Sign returns the signature over a JWS signing input (RFC 7518 sections 3.3 to
// 3.5, RFC 8037 section 3.1, RFC 9964). ECDSA nonces are derived from key and
// message (RFC 6979, RFC 8725 section 3.2), and those of ML-DSA from both and a
// random number (FIPS 204 section 3.4), so weak random numbers cannot disclose
// the key. Errors: [ErrKeyMaterial] for the zero Private, and those of package
// crypto.
func (p Private) Sign(input []byte) ([]byte, error) {
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
	signature, err := p.key().Sign(random, p.alg.signedInput(input), opts)
	if err != nil {
		return nil, fmt.Errorf("keys: sign with %s: %w", p.alg.name, err)
	}
	if p.alg.kty == "EC" {
		return p.alg.flattenSignature(signature)
	}
	return signature, nil
}

// signedInput returns the bytes that the key signs: the hash of the input, or
// for Ed25519 and ML-DSA the input itself.
func (a algorithm) signedInput(input []byte) []byte {
	if a.hash == 0 {
		return input
	}
	h := a.hash.New()
	h.Write(input)
	return h.Sum(nil)
}

// flattenSignature converts an ECDSA signature from ASN.1 to R ‖ S, each padded
// to the length of a coordinate (RFC 7518 section 3.4).
func (a algorithm) flattenSignature(der []byte) ([]byte, error) {
	var r, s []byte
	in, inner := cryptobyte.String(der), cryptobyte.String{}
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) ||
		len(r) > a.coordinateSize() || len(s) > a.coordinateSize() {
		return nil, errors.New("keys: an ECDSA signature of an unknown form")
	}
	size := a.coordinateSize()
	flat := make([]byte, 2*size)
	copy(flat[size-len(r):size], r)
	copy(flat[2*size-len(s):], s)
	return flat, nil
}

// VerifySignature reports whether a signature over a JWS signing input verifies
// with pub and alg. Pass the key's own algorithm, never the one in a token's
// header (RFC 8725 section 3.1).
func VerifySignature(pub crypto.PublicKey, alg jose.SignatureAlgorithm, input, signature []byte) bool {
	a, err := lookupAlgorithm(alg)
	if err != nil || a.checkPublic(pub) != nil || len(signature) != a.signatureSize(pub) {
		return false
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		return ecdsa.Verify(k, a.signedInput(input), r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(k, input, signature)
	case *mldsa.PublicKey:
		return mldsa.Verify(k, input, signature, nil) == nil // the context is empty (RFC 9964)
	case *rsa.PublicKey:
		if !a.pss {
			return rsa.VerifyPKCS1v15(k, a.hash, a.signedInput(input), signature) == nil
		}
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash}
		return rsa.VerifyPSS(k, a.hash, a.signedInput(input), signature, opts) == nil
	}
	return false
}

// Matches reports whether the public half verifies a signature of the private
// half (pairwise consistency test, NIST SP 800-56B section 6.4.1.1).
func (p Private) Matches() bool {
	input := []byte("keyward import")
	signature, err := p.Sign(input)
	return err == nil && VerifySignature(p.Public(), p.alg.name, input, signature)
}

// EqualPublic reports whether two public keys are equal.
func EqualPublic(a, b crypto.PublicKey) bool {
	k, comparable := a.(interface{ Equal(crypto.PublicKey) bool })
	return comparable && k.Equal(b)
}

// SignatureSize returns the length of the key's signatures in bytes.
func (p Private) SignatureSize() int { return p.alg.signatureSize(p.Public()) }

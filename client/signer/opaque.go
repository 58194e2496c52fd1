package signer

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Opaque returns the signer for go-jose, which writes the kid of the active key into each
// header.
func (s *Signer) Opaque() jose.OpaqueSigner { return opaque{s} }

type opaque struct{ s *Signer }

// Public implements [jose.OpaqueSigner].
func (o opaque) Public() *jose.JSONWebKey {
	key := o.s.jwk()
	return &key
}

// Algs implements [jose.OpaqueSigner].
func (o opaque) Algs() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{o.s.alg} }

// SignPayload implements [jose.OpaqueSigner]. payload is the signing input. Errors:
// ErrNotJWS, ErrKeyChanged, and those of package client.
func (o opaque) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	if alg != o.s.alg {
		return nil, fmt.Errorf("%w: %s", jose.ErrUnsupportedAlgorithm, alg)
	}
	return o.s.sign(payload)
}

// hashOf returns the hash of an algorithm (RFC 7518 sections 3.3 to 3.5), 0 for one that
// signs the message itself.
func hashOf(alg jose.SignatureAlgorithm) crypto.Hash {
	name := string(alg)
	if len(name) != 5 || !strings.Contains("ES RS PS", name[:2]) {
		return 0
	}
	return map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[name[2:]]
}

// checkOpts returns ErrDigest unless opts ask for what the algorithm does. A salt of PSS
// has the length of the hash (RFC 7518 section 3.5).
func checkOpts(alg jose.SignatureAlgorithm, opts crypto.SignerOpts) error {
	hash := crypto.Hash(0)
	if opts != nil {
		hash = opts.HashFunc()
	}
	pss, isPSS := opts.(*rsa.PSSOptions)
	wantsPSS := strings.HasPrefix(string(alg), "PS")
	if hash != hashOf(alg) || isPSS != wantsPSS ||
		isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != rsa.PSSSaltLengthAuto && pss.SaltLength != hash.Size() {
		return ErrDigest
	}
	return nil
}

// encodeASN1 converts an ECDSA signature of a JWS, R ‖ S, to ASN.1.
func encodeASN1(flat []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, half := range [][]byte{flat[:len(flat)/2], flat[len(flat)/2:]} {
			addUnsigned(b, half)
		}
	})
	return b.Bytes()
}

// addUnsigned adds a big-endian number without its leading zeros.
func addUnsigned(b *cryptobyte.Builder, number []byte) {
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		for len(number) > 1 && number[0] == 0 {
			number = number[1:]
		}
		if number[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(number)
	})
}

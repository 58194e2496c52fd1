package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"

	"github.com/keyward/keyward/keys/tokens"
)

// publicDER reads a public key: SubjectPublicKeyInfo (RFC 5280 section 4.1) or
// PKCS#1 (RFC 8017 appendix A.1.1).
func publicDER(field, label string, der []byte) (crypto.PublicKey, error) {
	if label == pemPublicPKCS1 {
		return rsaPublicDER(field, der)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	unreadable := tokens.Invalid(field, "cannot be read; a public key is an RSA key, an EC key on the named curve P-256, P-384 or P-521, or an Ed25519 key")
	if rest, err := asn1.Unmarshal(der, &spki); err != nil || len(rest) > 0 {
		return nil, unreadable
	}
	if spki.Algorithm.Algorithm.Equal(oidRSA) {
		return rsaPublicDER(field, spki.Bits.Bytes)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, unreadable
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		return key, nil
	case ed25519.PublicKey:
		return ed25519.PublicKey(bytes.Clone(key)), nil // it is a part of der, which is cleared
	case *ecdh.PublicKey:
		return nil, tokens.Invalid(field, cannotSign)
	}
	return nil, unreadable
}

func rsaPublicDER(field string, der []byte) (crypto.PublicKey, error) {
	var numbers struct{ N, E *big.Int }
	if rest, err := asn1.Unmarshal(der, &numbers); err != nil || len(rest) > 0 {
		return nil, tokens.Invalid(field, "cannot be read as an RSA public key")
	}
	if err := strongRSA(field, numbers.N, numbers.E); err != nil {
		return nil, err
	}
	return &rsa.PublicKey{N: numbers.N, E: int(numbers.E.Int64())}, nil
}

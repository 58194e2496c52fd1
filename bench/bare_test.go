package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks/jwkstest"
)

var errWrong = errors.New("wrong signature")

// bare is what no library can do without: the digest and the signature of one
// token that has been taken apart before, with the key in the form that package
// crypto likes best. Nothing is parsed or checked.
func bare(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm, raw string) check {
	dot := strings.LastIndexByte(raw, '.')
	input := []byte(raw[:dot])
	signature, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
	if err != nil {
		tb.Fatal(err)
	}
	switch key := publicKey(tb, issuer, alg).(type) {
	case *ecdsa.PublicKey:
		der := asn1OfBoth(tb, signature)
		return func(context.Context, string) error {
			digest := sha256.Sum256(input)
			return right(ecdsa.VerifyASN1(key, digest[:], der))
		}
	case ed25519.PublicKey:
		return func(context.Context, string) error { return right(ed25519.Verify(key, input, signature)) }
	case *rsa.PublicKey:
		return func(context.Context, string) error {
			digest := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
		}
	}
	tb.Fatal("no key")
	return nil
}

func right(ok bool) error {
	if !ok {
		return errWrong
	}
	return nil
}

func asn1OfBoth(tb testing.TB, signature []byte) []byte {
	half := len(signature) / 2
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func publicKey(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) crypto.PublicKey {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(issuer.JWKS(), &set); err != nil {
		tb.Fatal(err)
	}
	for _, key := range set.Keys {
		if key.Algorithm == string(alg) {
			return key.Key
		}
	}
	return nil
}

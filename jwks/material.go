package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
)

// curves are those of RFC 7518 section 6.2.1.1.
var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// newRSAKey makes a key of base64url numbers (RFC 7518 section 6.3.1). It refuses
// keys that section 3.3 forbids, that are so large that they would only cost time,
// or that can be factored.
func newRSAKey(n, e string) (*rsa.PublicKey, error) {
	modulus, err := decodeNumber(n)
	if err != nil {
		return nil, err
	}
	exponent, err := decodeNumber(e)
	if err != nil {
		return nil, err
	}
	const largestExponent = 1<<31 - 1 // of package rsa
	bits := modulus.BitLen()
	if bits < 2048 || bits > 8192 || modulus.Bit(0) == 0 || exponent.BitLen() > 31 {
		return nil, errWeak
	}
	exp := exponent.Int64()
	if exp < 3 || exp%2 == 0 || exp > largestExponent {
		return nil, errWeak
	}
	if hasROCA(modulus) {
		return nil, errROCA
	}
	return &rsa.PublicKey{N: modulus, E: int(exp)}, nil
}

// newECKey makes a key of base64url coordinates (RFC 7518 section 6.2.1). It
// refuses points that are not on the curve. Coordinates without their leading zeros, or
// with more of them, as of a signed integer of Java, are taken.
func newECKey(curve, x, y string) (*ecdsa.PublicKey, error) {
	c := curves[curve]
	if c == nil {
		return nil, errType
	}
	size := (c.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed
	for i, coordinate := range []string{x, y} {
		number, err := base64.RawURLEncoding.DecodeString(coordinate)
		for len(number) > size && number[0] == 0 {
			number = number[1:]
		}
		if err != nil || len(number) == 0 || len(number) > size {
			return nil, errNumbers
		}
		copy(point[1+(i+1)*size-len(number):], number)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c, point)
	if err != nil {
		return nil, errNumbers
	}
	return key, nil
}

// newEdKey makes an Ed25519 key (RFC 8037 section 2).
func newEdKey(x string) (ed25519.PublicKey, error) {
	key, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errNumbers
	}
	return key, nil
}

// parameterSets are those of FIPS 204 section 4.
var parameterSets = map[string]mldsa.Parameters{"ML-DSA-44": mldsa.MLDSA44(), "ML-DSA-65": mldsa.MLDSA65(), "ML-DSA-87": mldsa.MLDSA87()}

// newMLDSAKey makes a key of the parameter set that its alg names (RFC 9964).
func newMLDSAKey(alg, pub string) (*mldsa.PublicKey, error) {
	raw, err := base64.RawURLEncoding.DecodeString(pub)
	if err != nil {
		return nil, errNumbers
	}
	key, err := mldsa.NewPublicKey(parameterSets[alg], raw)
	if err != nil {
		return nil, errNumbers
	}
	return key, nil
}

func decodeNumber(text string) (*big.Int, error) {
	number, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(number) == 0 {
		return nil, errNumbers
	}
	return new(big.Int).SetBytes(number), nil
}

// A fingerprint is equal for two keys exactly if their numbers are.
type fingerprint [sha256.Size]byte

func fingerprintOf(key crypto.PublicKey) (f fingerprint) {
	h := sha256.New()
	switch key := key.(type) {
	case *rsa.PublicKey:
		h.Write([]byte("RSA"))
		h.Write(big.NewInt(int64(key.E)).FillBytes(make([]byte, 8)))
		h.Write(key.N.Bytes())
	case *ecdsa.PublicKey:
		point, _ := key.Bytes() // of a key on its curve; the length tells the curves apart
		h.Write([]byte("EC"))
		h.Write(point)
	case ed25519.PublicKey:
		h.Write([]byte("OKP"))
		h.Write(key)
	case *mldsa.PublicKey:
		h.Write([]byte("AKP"))
		h.Write(key.Bytes()) // the length tells the parameter sets apart
	}
	h.Sum(f[:0])
	return f
}

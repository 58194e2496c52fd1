package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"

	"github.com/keyward/keyward/keys/tokens"
)

// Why DER was refused. What the parsers say may describe the material and is
// not passed on.
var (
	errNotItsHalf = tokens.Invalid(FieldPrivate, "comes with a public key that is not its own")
	errPrivateDER = tokens.Invalid(FieldPrivate, "cannot be read; it may be an RSA key, an EC key on the named curve P-256, P-384 or P-521, an Ed25519 key, or an ML-DSA key with its seed, as PKCS#8, PKCS#1 or SEC 1")
)

const explicitCurve = "is an EC key that has its curve as numbers; name the curve with: openssl pkey -in key.pem -ec_param_enc named_curve -out named.pem (of a public key, with -pubin -pubout)"

// hasExplicitCurve reports whether an EC key has the parameters of its curve instead of its
// name (SEC 1 section C.2): who chooses those can make a second key for signatures.
func hasExplicitCurve(id pkix.AlgorithmIdentifier) bool {
	return id.Algorithm.Equal(oidEC) && isSequence(id.Parameters.FullBytes)
}

// isSequence reports whether DER is a SEQUENCE.
func isSequence(der []byte) bool { return len(der) > 0 && der[0] == 0x30 }

const cannotSign = "is a key for key agreement (X25519 or X448), which cannot sign"

var (
	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // RFC 8017 appendix A.1
	oidEC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}     // RFC 5480 section 2.1.1
)

// isRSA reports whether a key is an RSA key, for PSS alone or not.
func isRSA(id pkix.AlgorithmIdentifier) bool {
	return id.Algorithm.Equal(oidRSA) || id.Algorithm.Equal(oidRSAPSS)
}

// pkcs8 is a OneAsymmetricKey (RFC 5958 section 2).
type pkcs8 struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
	Attributes asn1.RawValue  `asn1:"optional,tag:0"`
	PublicKey  asn1.BitString `asn1:"optional,tag:1"`
}

// sec1 is an ECPrivateKey (RFC 5915 section 3).
type sec1 struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// privateDER reads a private key. The strength of an RSA key is judged before
// anything slow is done with its numbers.
func privateDER(label string, der []byte) (crypto.Signer, error) {
	switch label {
	case pemPKCS1:
		return rsaDER(der)
	case pemSEC1:
		key, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, sec1Error(der)
		}
		return key, sec1Half(der, key)
	}
	var outer pkcs8
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return nil, errPrivateDER
	}
	defer clear(outer.PrivateKey)
	return pkcs8Key(der, outer)
}

// sec1Error returns why an EC key in SEC 1 is not read.
func sec1Error(der []byte) error {
	var key struct {
		Version    int
		PrivateKey []byte
		Curve      asn1.RawValue `asn1:"optional,explicit,tag:0"`
		PublicKey  asn1.RawValue `asn1:"optional,explicit,tag:1"`
	}
	_, err := asn1.Unmarshal(der, &key)
	if clear(key.PrivateKey); err == nil && isSequence(key.Curve.Bytes) {
		return tokens.Invalid(FieldPrivate, explicitCurve)
	}
	return errPrivateDER
}

func pkcs8Key(der []byte, outer pkcs8) (crypto.Signer, error) {
	if isRSA(outer.Algorithm) {
		key, err := rsaDER(outer.PrivateKey)
		if err != nil {
			return nil, err
		}
		return key, isHalf(outer.PublicKey, key)
	}
	if hasExplicitCurve(outer.Algorithm) {
		return nil, tokens.Invalid(FieldPrivate, explicitCurve)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errPrivateDER
	}
	switch key := parsed.(type) {
	case *ecdsa.PrivateKey:
		if err := sec1Half(outer.PrivateKey, key); err != nil {
			return nil, err
		}
		return key, isHalf(outer.PublicKey, key)
	case ed25519.PrivateKey:
		return key, isHalf(outer.PublicKey, key)
	case *mldsa.PrivateKey:
		return key, isHalf(outer.PublicKey, key)
	case *ecdh.PrivateKey:
		return nil, tokens.Invalid(FieldPrivate, cannotSign)
	}
	return nil, errPrivateDER
}

func rsaDER(der []byte) (crypto.Signer, error) {
	var head struct {
		Version int
		N, E    *big.Int
	}
	if rest, err := asn1.Unmarshal(der, &head); err != nil || len(rest) > 0 {
		return nil, errPrivateDER
	}
	if head.Version != 0 {
		return nil, tokens.Invalid(FieldPrivate, "is an RSA key of more than two primes; RFC 7518 section 6.3.2.7 lets verifiers and signers refuse those")
	}
	if err := strongRSA(FieldPrivate, head.N, head.E); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, tokens.Invalid(FieldPrivate, "is an RSA key whose numbers contradict each other")
	}
	return key, nil
}

// sec1Half checks the public point that an EC key may carry.
func sec1Half(der []byte, key *ecdsa.PrivateKey) error {
	var inner sec1
	if rest, err := asn1.Unmarshal(der, &inner); err != nil || len(rest) > 0 {
		return errPrivateDER
	}
	clear(inner.PrivateKey)
	return isHalf(inner.PublicKey, key)
}

// isHalf checks a public key that stands inside a private one, if there is
// any: the same bits as in a SubjectPublicKeyInfo, or a compressed point.
func isHalf(claimed asn1.BitString, key crypto.Signer) error {
	if len(claimed.Bytes) == 0 {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if err == nil {
		_, err = asn1.Unmarshal(der, &spki)
	}
	if err != nil {
		return errPrivateDER
	}
	bits := spki.Bits.Bytes
	if _, ec := key.(*ecdsa.PrivateKey); ec && claimed.Bytes[0] != 4 { // SEC 1 section 2.3.3
		bits = append([]byte{2 + bits[len(bits)-1]&1}, bits[1:1+len(bits)/2]...)
	}
	if !bytes.Equal(bits, claimed.Bytes) {
		return errNotItsHalf
	}
	return nil
}

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
	unreadable := tokens.Invalid(field, "cannot be read; a public key is an RSA key, an EC key on the named curve P-256, P-384 or P-521, an Ed25519 key or an ML-DSA key")
	if rest, err := asn1.Unmarshal(der, &spki); err != nil || len(rest) > 0 {
		return nil, unreadable
	}
	if isRSA(spki.Algorithm) {
		return rsaPublicDER(field, spki.Bits.Bytes)
	}
	if hasExplicitCurve(spki.Algorithm) {
		return nil, tokens.Invalid(field, explicitCurve)
	}
	if key := compressedPoint(spki.Algorithm, spki.Bits.Bytes); key != nil {
		return key, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, unreadable
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		return key, nil
	case ed25519.PublicKey:
		if !soundEd25519(key) {
			return nil, tokens.Invalid(field, "is "+unsoundEd25519)
		}
		return ed25519.PublicKey(bytes.Clone(key)), nil // it is a part of der, which is cleared
	case *mldsa.PublicKey:
		return key, nil
	case *ecdh.PublicKey:
		return nil, tokens.Invalid(field, cannotSign)
	}
	return nil, unreadable
}

// compressedPoint returns the EC key of a compressed point (RFC 5480 section 2.2), which
// package x509 does not read, or nil.
func compressedPoint(id pkix.AlgorithmIdentifier, point []byte) *ecdsa.PublicKey {
	var curve asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &curve); err != nil || !id.Algorithm.Equal(oidEC) || len(point) == 0 || point[0] == 4 {
		return nil
	}
	name := map[string]string{"1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521"}[curve.String()]
	on := curveNamed(name)
	if on == nil {
		return nil
	}
	x, y := elliptic.UnmarshalCompressed(on, point)
	if x == nil {
		return nil
	}
	size := (on.Params().BitSize + 7) / 8
	key, err := ecdsa.ParseUncompressedPublicKey(on, append(append([]byte{4}, x.FillBytes(make([]byte, size))...), y.FillBytes(make([]byte, size))...))
	if err != nil {
		return nil
	}
	return key
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

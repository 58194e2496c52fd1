package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// rsaSizes lists the sizes of generated RSA keys, in bits.
func rsaSizes() []int { return []int{2048, 3072, 4096} }

// Generate makes a private key. rsaBits is 2048, 3072 or 4096 for RSA, where 0
// means 2048, and is ignored for other key types. A large RSA key takes
// seconds, so call it ahead of need. Errors: [ErrUnsupportedAlgorithm],
// [ErrKeyMaterial].
func Generate(alg jose.SignatureAlgorithm, rsaBits int) (Private, error) {
	a, err := lookupAlgorithm(alg)
	if err != nil {
		return Private{}, err
	}
	key, err := a.generateKey(rsaBits)
	if err != nil {
		return Private{}, err
	}
	return NewPrivate(alg, key)
}

func (a algorithm) generateKey(rsaBits int) (crypto.Signer, error) {
	switch a.kty {
	case "EC":
		return ecdsa.GenerateKey(a.curve, rand.Reader)
	case "OKP":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "AKP":
		return mldsa.GenerateKey(a.mldsa)
	}
	bits, err := RSASize(rsaBits)
	if err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// RSASize returns bits if it is a supported size of RSA keys, and the smallest
// size for 0. Errors: [ErrKeyMaterial] for any other size.
func RSASize(bits int) (int, error) {
	if bits == 0 {
		return MinRSABits, nil
	}
	for _, size := range rsaSizes() {
		if bits == size {
			return bits, nil
		}
	}
	return 0, fmt.Errorf("%w: no RSA keys of %d bits, it is one of %v", ErrKeyMaterial, bits, rsaSizes())
}

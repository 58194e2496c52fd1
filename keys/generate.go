package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// rsaSizes lists the sizes of RSA keys that are generated, in bits.
func rsaSizes() []int { return []int{2048, 3072, 4096} }

// Generate makes a key. rsaBits is one of 2048, 3072 and 4096 for RSA, where 0 means
// 2048, and ignored for other keys. A big RSA key takes seconds; its
// callers make it ahead. Errors: [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func Generate(alg jose.SignatureAlgorithm, rsaBits int) (Private, error) {
	a, err := lookup(alg)
	if err != nil {
		return Private{}, err
	}
	key, err := a.generate(rsaBits)
	if err != nil {
		return Private{}, err
	}
	return NewPrivate(alg, key)
}

func (a algorithm) generate(rsaBits int) (crypto.Signer, error) {
	switch a.kty {
	case "EC":
		return ecdsa.GenerateKey(a.curve, rand.Reader)
	case "OKP":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	bits, err := RSASize(rsaBits)
	if err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// RSASize returns the size of an RSA key that is asked for with bits, of which 0
// means the smallest. Errors: [ErrKeyMaterial] for none of 2048, 3072 and 4096.
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

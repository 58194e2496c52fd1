package keyfile

import (
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
)

// minExponent is the least public exponent of FIPS 186-5 appendix A.1.1. A key
// with e = 3 is sound by itself, but verifiers that read the padding of PKCS#1
// v1.5 loosely accept signatures that anybody computes as a cube root
// (Bleichenbacher 2006, BERserk 2014), and a platform does not choose the
// verifiers of its tokens.
const minExponent = 65537

// strongRSA refuses RSA keys that are known to be weak by their public half
// (RFC 7518 section 3.3, FIPS 186-5 appendix A.1.1, ROCA).
func strongRSA(field string, n, e *big.Int) error {
	switch bits := n.BitLen(); {
	case n.Sign() <= 0 || bits < keys.MinRSABits:
		return tokens.Invalid(field, fmt.Sprintf("is an RSA key of %d bits; %d are the least that is safe (RFC 7518 section 3.3)", bits, keys.MinRSABits))
	case bits > jose.MaxRSAModulusBits:
		return tokens.Invalid(field, fmt.Sprintf("is an RSA key of %d bits; more than %d are read neither here nor by common verifiers", bits, jose.MaxRSAModulusBits))
	case e.Sign() <= 0 || e.Bit(0) == 0:
		return tokens.Invalid(field, "is an RSA key with an even public exponent, which is none")
	case e.Cmp(big.NewInt(minExponent)) < 0:
		return tokens.Invalid(field, fmt.Sprintf("is an RSA key with a public exponent below %d (FIPS 186-5): some verifiers accept forged signatures of such keys", minExponent))
	case e.BitLen() > 31:
		return tokens.Invalid(field, "is an RSA key with a public exponent above 2147483647, which many verifiers do not read")
	case smallFactor(n):
		return tokens.Invalid(field, "is an RSA key whose modulus has a small factor")
	case hasROCAFingerprint(n):
		return tokens.Invalid(field, "is an RSA key with the fingerprint of ROCA (CVE-2017-15361): its private key can be computed from its public one. Replace it wherever it is used")
	}
	return nil
}

// rocaPrimes are the small primes modulo which 65537 generates few residues:
// modulo each, keys of the broken library are such a residue, and others are so
// with a chance of about 2⁻²⁷ taken together. M. Nemec, M. Sys, P. Svenda,
// D. Klinec, V. Matyas: The Return of Coppersmith's Attack, ACM CCS 2017.
var rocaPrimes = []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

// hasROCAFingerprint reports whether a modulus has the fingerprint of the
// library with the ROCA defect (CVE-2017-15361).
func hasROCAFingerprint(n *big.Int) bool {
	for _, p := range rocaPrimes {
		if !powerOfF4(remainder(n, p), p) {
			return false
		}
	}
	return true
}

// powerOfF4 reports whether r is a power of 65537 modulo p.
func powerOfF4(r, p int64) bool {
	x := int64(1)
	for range p {
		if x == r {
			return true
		}
		x = x * minExponent % p
	}
	return false
}

func smallFactor(n *big.Int) bool {
	for _, p := range append([]int64{2, 3, 5, 7}, rocaPrimes...) {
		if remainder(n, p) == 0 {
			return true
		}
	}
	return false
}

func remainder(n *big.Int, p int64) int64 { return new(big.Int).Mod(n, big.NewInt(p)).Int64() }

package jwks

import "math/big"

// rocaPrimes are the primes that tell the keys of the flawed generator apart: each
// of its moduli is a power of 65537 modulo all of them (Nemec, Sys, Svenda, Klinec
// and Matyas, The Return of Coppersmith's Attack, CCS 2017, section 2). Of other
// moduli, about one in 2^27 is.
var rocaPrimes = []uint64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

// rocaPowers has, for each prime, which remainders are powers of 65537.
var rocaPowers = func() (powers [][]bool) {
	for _, p := range rocaPrimes {
		is := make([]bool, p)
		for x := uint64(1); !is[x]; x = x * 65537 % p {
			is[x] = true
		}
		powers = append(powers, is)
	}
	return powers
}()

// hasROCA reports whether an RSA modulus has the fingerprint of CVE-2017-15361.
func hasROCA(n *big.Int) bool {
	var rest, prime big.Int
	for i, p := range rocaPrimes {
		if !rocaPowers[i][rest.Mod(n, prime.SetUint64(p)).Uint64()] {
			return false
		}
	}
	return true
}

package keyfile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"

	"github.com/keyward/keyward/keys"
)

const contradicts = "has members that contradict each other"

// ec reads the members of RFC 7518 section 6.2.
func (j *foreignJWK) ec(b *Key, private bool) {
	curve := curveNamed(j.text("crv"))
	if curve == nil {
		j.fail("crv", "must be P-256, P-384 or P-521")
		return
	}
	size := (curve.Params().BitSize + 7) / 8 // RFC 7518 section 6.2.1.2
	x, y := j.coordinate("x", size), j.coordinate("y", size)
	if j.err != nil {
		return
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		j.fail("x", "and y are no point of the curve")
		return
	}
	b.Public = public
	if !private {
		return
	}
	d := j.coordinate("d", size)
	defer clear(d)
	if j.err != nil {
		return
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil {
		j.fail("d", "is not in the range of the curve")
		return
	}
	if !key.PublicKey.Equal(public) {
		j.fail("", contradicts+": x and y are not the public half of d")
		return
	}
	b.Private = key
}

// curveNamed returns the curve that an algorithm signs on, nil if none does.
func curveNamed(crv string) elliptic.Curve {
	for _, alg := range keys.Algorithms() {
		if curve := keys.Curve(alg); curve != nil && curve.Params().Name == crv {
			return curve
		}
	}
	return nil
}

// coordinate is a number of fixed length. Some libraries leave out leading
// zeros, against RFC 7518 section 6.2.1.2; nothing hangs on them here.
func (j *foreignJWK) coordinate(name string, size int) []byte {
	b := j.octets(name)
	if len(b) > size {
		j.fail(name, "is too long for the curve")
	}
	if j.err != nil {
		return nil
	}
	defer clear(b)
	full := make([]byte, size)
	copy(full[size-len(b):], b)
	return full
}

// okp reads the members of RFC 8037 section 2.
func (j *foreignJWK) okp(b *Key, private bool) {
	switch j.text("crv") {
	case "Ed25519":
	case "X25519", "X448":
		j.fail("", cannotSign)
	default:
		j.fail("crv", "must be Ed25519")
	}
	x := j.octets("x")
	if j.err == nil && len(x) != ed25519.PublicKeySize {
		j.fail("x", "must be 32 bytes")
	}
	if j.err != nil {
		return
	}
	b.Public = ed25519.PublicKey(x)
	if !private {
		return
	}
	d := j.octets("d")
	defer clear(d)
	if j.err == nil && len(d) != ed25519.SeedSize {
		j.fail("d", "must be 32 bytes")
	}
	if j.err != nil {
		return
	}
	key := ed25519.NewKeyFromSeed(d)
	if !keys.EqualPublic(key.Public(), b.Public) {
		j.fail("", contradicts+": x is not the public half of d")
		return
	}
	b.Private = key
}

// rsa reads the members of RFC 7518 section 6.3.
func (j *foreignJWK) rsa(b *Key, private bool) {
	n, e := j.number("n"), j.number("e")
	if j.err == nil {
		j.err = strongRSA(j.field, n, e)
	}
	if j.err != nil {
		return
	}
	public := rsa.PublicKey{N: n, E: int(e.Int64())}
	b.Public = &public
	if !private {
		return
	}
	key := &rsa.PrivateKey{PublicKey: public, D: j.number("d"), Primes: []*big.Int{j.number("p"), j.number("q")}}
	if j.err != nil {
		return
	}
	if key.Validate() != nil {
		j.fail("", contradicts+": n, e, d, p and q are not of one key")
		return
	}
	key.Precompute()
	j.crt(key)
	b.Private = key
}

// crt checks the numbers that only make signing faster, as far as given.
func (j *foreignJWK) crt(key *rsa.PrivateKey) {
	for name, want := range map[string]*big.Int{"dp": key.Precomputed.Dp, "dq": key.Precomputed.Dq, "qi": key.Precomputed.Qinv} {
		if j.has(name) && j.number(name).Cmp(want) != 0 {
			j.fail("", contradicts+": dp, dq or qi do not belong to the others")
		}
	}
}

func (j *foreignJWK) number(name string) *big.Int {
	b := j.octets(name)
	defer clear(b)
	return new(big.Int).SetBytes(b)
}

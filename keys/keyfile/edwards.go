package keyfile

import (
	"math/big"
	"slices"
)

// Constants of edwards25519 (RFC 8032 section 5.1).
var (
	edwardsP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edwardsD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), edwardsP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), edwardsP)
	}()
)

// soundEd25519 reports whether 32 bytes are a public key with which only the holder of a
// private key can sign: a point of the curve in its one encoding (RFC 8032 section
// 5.1.3), and not of small order (section 5.1.7 multiplies by the cofactor). For a key of
// small order anybody computes signatures of any message.
func soundEd25519(key []byte) bool {
	encoded := slices.Clone(key)
	slices.Reverse(encoded)
	negative := encoded[0]>>7 == 1
	encoded[0] &= 0x7f
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(edwardsP) >= 0 {
		return false
	}
	xx, yy := edwardsSquares(y)
	if big.Jacobi(xx, edwardsP) < 0 || xx.Sign() == 0 && negative {
		return false
	}
	for range 3 { // eightfold
		// y = (yy + xx) / (1 - d·xx·yy), RFC 8032 section 5.1.4
		below := new(big.Int).Mul(xx, yy)
		below.Sub(big.NewInt(1), below.Mul(below, edwardsD))
		y.Mod(y.Mul(y.Add(yy, xx), below.ModInverse(below, edwardsP)), edwardsP)
		xx, yy = edwardsSquares(y)
	}
	return y.Cmp(big.NewInt(1)) != 0 // of the neutral element
}

// edwardsSquares returns x² = (y² - 1) / (d·y² + 1), and y².
func edwardsSquares(y *big.Int) (xx, yy *big.Int) {
	yy = new(big.Int).Mul(y, y)
	yy.Mod(yy, edwardsP)
	below := new(big.Int).Mul(yy, edwardsD)
	below.Add(below, big.NewInt(1))
	below.ModInverse(below.Mod(below, edwardsP), edwardsP) // d is no square, so it is not 0
	xx = new(big.Int).Sub(yy, big.NewInt(1))
	return xx.Mod(xx.Mul(xx, below), edwardsP), yy
}

package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
)

// verify checks a signature over input as RFC 7518 sections 3.3 to 3.5, RFC 8037
// section 3.1 and RFC 9964 have it. Call [Key.accepts] before.
func (k *Key) verify(a *algorithm, input, signature []byte) bool {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		if len(signature) != a.size {
			return false
		}
		var room [2*maxCoordinate + 9]byte
		return ecdsa.VerifyASN1(key, hashOf(a.hash, input), appendASN1(room[:0], signature))
	case ed25519.PublicKey:
		return len(signature) == a.size && ed25519.Verify(key, input, signature)
	case *mldsa.PublicKey:
		return len(signature) == a.size && mldsa.Verify(key, input, signature, nil) == nil
	case *rsa.PublicKey:
		if a.pss {
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, a.hash, hashOf(a.hash, input), signature, opts) == nil
		}
		return rsa.VerifyPKCS1v15(key, a.hash, hashOf(a.hash, input), signature) == nil
	}
	return false
}

func hashOf(hash crypto.Hash, input []byte) []byte {
	switch hash {
	case crypto.SHA256:
		sum := sha256.Sum256(input)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(input)
		return sum[:]
	default:
		sum := sha512.Sum512(input)
		return sum[:]
	}
}

// maxCoordinate is that of P-521, in bytes.
const maxCoordinate = 66

// appendASN1 turns R ‖ S, the form of RFC 7518 section 3.4, into the ASN.1 that package
// ecdsa wants: SEQUENCE { INTEGER r, INTEGER s }. No length needs more than one
// byte beside that of the sequence of P-521.
func appendASN1(b, flat []byte) []byte {
	r, s := trimZeros(flat[:len(flat)/2]), trimZeros(flat[len(flat)/2:])
	size := 2 + integerLength(r) + 2 + integerLength(s)
	b = append(b, 0x30)
	if size > 127 {
		b = append(b, 0x81)
	}
	b = append(b, byte(size))
	return appendInteger(appendInteger(b, r), s)
}

// trimZeros returns a number without the zeros before it; 0 keeps one.
func trimZeros(n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n
}

// integerLength returns the length of a number's two's complement.
func integerLength(n []byte) int { return len(n) + int(n[0]>>7) }

func appendInteger(b, n []byte) []byte {
	b = append(b, 0x02, byte(integerLength(n)))
	if n[0] > 127 {
		b = append(b, 0)
	}
	return append(b, n...)
}

package keystest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

const (
	fragment = 24 // bytes of a secret that are looked for
	longest  = 48 // bytes of a spelling
)

// Learn takes in a private key: an *ecdsa.PrivateKey, *rsa.PrivateKey,
// ed25519.PrivateKey or *mldsa.PrivateKey. It panics at any other.
func (s *Shown) Learn(key crypto.PrivateKey) {
	all := privateNumbers(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	news := false
	for _, secret := range all {
		for _, spelt := range spellingsOf(secret) {
			news = s.secrets.add(spelt) || news
		}
	}
	if news {
		s.learnt++
	}
}

// privateNumbers returns the numbers that make a key private. One of them is
// enough to reconstruct it.
func privateNumbers(key crypto.PrivateKey) [][]byte {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if d, err := k.Bytes(); err == nil {
			return [][]byte{d}
		}
	case ed25519.PrivateKey:
		return [][]byte{k.Seed()}
	case *mldsa.PrivateKey:
		return [][]byte{k.Bytes()}
	case *rsa.PrivateKey:
		all := [][]byte{k.D.Bytes()}
		for _, p := range append([]*big.Int{k.Precomputed.Dp, k.Precomputed.Dq}, k.Primes...) {
			if p != nil {
				all = append(all, p.Bytes())
			}
		}
		return all
	}
	panic(fmt.Sprintf("keystest: a private key of type %T", key))
}

// spellingsOf returns the encodings in which a secret could appear. All but the
// decimal ones cover its middle only, so that neighbouring text, a leading zero
// or an ASN.1 header does not matter.
func spellingsOf(secret []byte) []string {
	at := (len(secret) - fragment) / 2
	middle := secret[at : at+fragment]
	low := hex.EncodeToString(middle)
	list := strings.Trim(fmt.Sprint(middle), "[]") // as %v prints bytes
	all := []string{string(removeLineBreaks(middle)), low, strings.ToUpper(low), list, new(big.Int).SetBytes(secret).String()}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := alphabet.EncodeToString(append(make([]byte, before), middle...))
			// The first and last characters also tell of the neighbours.
			all = append(all, text[(before*8+5)/6:(before+fragment)*8/6])
		}
	}
	for i := range all {
		all[i] = all[i][:min(longest, len(all[i]))]
	}
	return all
}

// removeLineBreaks deletes line breaks, also those escaped by JSON or %q.
func removeLineBreaks(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
		case c == '\\' && i+1 < len(text) && (text[i+1] == 'n' || text[i+1] == 'r'):
			i++
		default:
			out = append(out, c)
		}
	}
	return out
}

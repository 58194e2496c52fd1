package jwks

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// rsaJWKs are n different keys of 4096 bits under one kid. Their numbers are no
// products of primes, which nobody can see.
func rsaJWKs(t *testing.T, n int) string {
	t.Helper()
	keys := make([]string, n)
	modulus := make([]byte, 512)
	for i := range keys {
		_, _ = rand.Read(modulus)
		modulus[0] |= 0x80
		modulus[511] |= 1
		keys[i] = fmt.Sprintf(`{"kty":"RSA","kid":"k","e":"AQAB","n":%q}`, base64.RawURLEncoding.EncodeToString(modulus))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// Work per key does not grow with the number of keys. Allocations are counted, as
// time depends on the machine.
func TestASetCostsLinearTime(t *testing.T) {
	cost := func(n int) float64 {
		set := []byte(rsaJWKs(t, n))
		return testing.AllocsPerRun(2, func() {
			s, err := parseSet(t.Context(), set, 5, 200, func(_ string, err error) { t.Error(err) })
			if err != nil || len(s.entries) != n {
				t.Fatal(err)
			}
		})
	}
	if few, many := cost(25), cost(200); many > 10*few {
		t.Errorf("%.0f allocations for 25 keys, %.0f for 200", few, many)
	}
}

// The time limit of a fetch covers the parsing.
func TestParsingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	tooLate, seen := errors.New("too late"), 0
	_, err := parseSet(ctx, []byte(`{"keys":[`+strings.Repeat(`{},`, 100)+`{}]}`), 5, 200, func(string, error) {
		if seen++; seen == 3 {
			cancel(tooLate)
		}
	})
	if !errors.Is(err, tooLate) || seen != 3 {
		t.Errorf("%v after %d keys", err, seen)
	}
}

func TestMembersOfKeys(t *testing.T) {
	const ec = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	for name, test := range map[string]struct {
		jwk    string
		reason error
	}{
		"plain":                   {`{` + ec + `}`, nil},
		"empty lists of .NET":     {`{` + ec + `,"key_ops":[],"oth":[],"x5c":[]}`, nil},
		"empty lists, anywhere":   {`{` + ec + `,"use":[],"alg":[],"kid":[ ],"n":[],"d":[],"x5t":[]}`, nil},
		"nulls of .NET":           {`{` + ec + `,"key_ops":null,"oth":null,"x5c":null,"d":null,"k":null,"use":null,"alg":null,"kid":null,"n":null}`, nil},
		"a list with white space": {`{` + ec + `,"oth": [ ] }`, nil},
		"other case":              {`{` + ec + `,"USE":"enc","Alg":"HS256","KEY_OPS":["sign"],"D":"AAAA"}`, nil},
		"type in capitals":        {`{` + strings.Replace(ec, `"kty"`, `"KTY"`, 1) + `}`, errType},
		"for encryption":          {`{` + ec + `,"use":"enc"}`, errUse},
		"for signing only":        {`{` + ec + `,"key_ops":["sign"]}`, errUse},
		"private":                 {`{` + ec + `,"d":"AAAA"}`, errPrivate},
		"private, oth":            {`{` + ec + `,"oth":[{}]}`, errPrivate},
		"a member twice":          {`{` + ec + `,"alg":"ES256","alg":"ES256"}`, errNotKey},
		"a member twice inside":   {`{` + ec + `,"x":{"a":1,"a":1}}`, errNotKey},
		"off the curve":           {`{` + strings.Replace(ec, "f83O", "g83O", 1) + `}`, errNumbers},
		"no numbers":              {`{"kty":"EC","crv":"P-256"}`, errNumbers},
		"padding":                 {`{` + strings.Replace(ec, "VEU", "VEU=", 1) + `}`, errNumbers},
		"too long a number":       {`{` + strings.Replace(ec, `"x":"f`, `"x":"AAAAAf`, 1) + `}`, errNumbers},
		"the point at infinity":   {`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, errNumbers},
		"a short Ed25519 key":     {`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, errNumbers},
		"secp256k1":               {`{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, errType},
		"no modulus":              {`{"kty":"RSA","e":"AQAB"}`, errNumbers},
		"no exponent":             {`{"kty":"RSA","n":"AQAB"}`, errNumbers},
	} {
		if _, _, err := parseKey(test.jwk); !errors.Is(err, test.reason) {
			t.Errorf("%s: %v, want %v", name, err, test.reason)
		}
	}
	for _, jwk := range []string{`{"kty":7}`, `{` + ec + `,"kid":7}`, `{` + ec + `,"key_ops":"verify"}`, `{` + ec + `,"key_ops":[7]}`} {
		if _, _, err := parseKey(jwk); err == nil {
			t.Errorf("%s was taken", jwk)
		}
	}
}

// A coordinate that lost its leading zero, or has more of them, is the same number.
func TestStrippedCoordinates(t *testing.T) {
	for n := range int64(2000) { // until a point has such a coordinate
		x := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 240), big.NewInt(n))
		p := curves["P-256"].Params()
		y := new(big.Int).Exp(x, big.NewInt(3), p.P)
		y.Sub(y, new(big.Int).Mul(x, big.NewInt(3))).Add(y, p.B).Mod(y, p.P)
		if y.ModSqrt(y, p.P) == nil {
			continue
		}
		encode := base64.RawURLEncoding.EncodeToString
		jwk := func(x []byte) string {
			return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, encode(x), encode(y.FillBytes(make([]byte, 32))))
		}
		full, _, err := parseKey(jwk(x.FillBytes(make([]byte, 32))))
		if err != nil {
			t.Fatal(err)
		}
		short, _, err := parseKey(jwk(x.Bytes()))
		if err != nil || fingerprintOf(full.key) != fingerprintOf(short.key) {
			t.Errorf("without its zero: %v", err)
		}
		long, _, err := parseKey(jwk(x.FillBytes(make([]byte, 34))))
		if err != nil || fingerprintOf(full.key) != fingerprintOf(long.key) {
			t.Errorf("with two more: %v", err)
		}
		if _, _, err := parseKey(jwk(append([]byte{1}, x.FillBytes(make([]byte, 32))...))); !errors.Is(err, errNumbers) {
			t.Errorf("too long: %v", err)
		}
		return
	}
	t.Fatal("no such point")
}

func TestRSAKeysThatAreRefused(t *testing.T) {
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	large := func(bits uint) *big.Int {
		return new(big.Int).SetBit(new(big.Int).SetBit(new(big.Int), int(bits)-1, 1), 0, 1)
	}
	even := new(big.Int).Sub(good.N, big.NewInt(1))
	for name, test := range map[string]struct {
		n, e   *big.Int
		reason error
	}{
		"good": {good.N, big.NewInt(65537), nil}, "e = 3": {good.N, big.NewInt(3), nil}, "8192 bits": {large(8192), big.NewInt(65537), nil},
		"2047 bits": {large(2047), big.NewInt(65537), errWeak}, "8193 bits": {large(8193), big.NewInt(65537), errWeak},
		"e = 1": {good.N, big.NewInt(1), errWeak}, "e = 2": {good.N, big.NewInt(2), errWeak}, "e = 65536": {good.N, big.NewInt(65536), errWeak},
		"a large e": {good.N, large(32), errWeak}, "a huge e": {good.N, large(2000), errWeak}, "even": {even, big.NewInt(65537), errWeak},
		"of the flawed generator": {flawedModulus(7), big.NewInt(65537), errROCA}, "another": {flawedModulus(1234567), big.NewInt(65537), errROCA},
	} {
		_, err := newRSAKey(number(test.n), number(test.e))
		if !errors.Is(err, test.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if key, err := newRSAKey("AAAA"+number(good.N), "AAEAAQ"); err != nil || key.N.Cmp(good.N) != 0 {
		t.Errorf("leading zeros: %v", err)
	}
}

// flawedModulus is a number of 2048 bits that is a power of 65537 modulo the first
// 126 primes, as the moduli of the flawed generator are.
func flawedModulus(power int64) *big.Int {
	m := big.NewInt(1)
	for p := int64(2); p <= 701; p++ {
		if big.NewInt(p).ProbablyPrime(10) {
			m.Mul(m, big.NewInt(p))
		}
	}
	rest := new(big.Int).Exp(big.NewInt(65537), big.NewInt(power), m)
	k := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(3), 2046), m) // leads to 3 · 2^2046, so to 2048 bits
	n := new(big.Int).Mul(k, m)
	if k.Bit(0) == 1 { // m is even, and so is k·m
		n.Sub(n, m)
	}
	return n.Add(n, rest)
}

// The primes that the check uses are among those of the generator, and common keys
// pass them.
func TestROCAFindsNoOtherKeys(t *testing.T) {
	r := make([]byte, 256)
	for range 2000 {
		_, _ = rand.Read(r)
		if n := new(big.Int).SetBytes(r); hasROCA(n) {
			t.Fatalf("%x", n)
		}
	}
	if !slices.IsSorted(rocaPrimes) || len(rocaPrimes) != 17 {
		t.Error(rocaPrimes)
	}
}

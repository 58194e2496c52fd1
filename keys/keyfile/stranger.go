package keyfile

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/keyward/keyward/keys"
)

// Labels are the members of a JWK that say what kind of key it is and what it is for.
type Labels struct {
	KTY, CRV, Use, Alg string
	KeyOps             []string
}

// Stranger returns why Keyward has no use for such a key (RFC 7517 section 5); empty if it
// may have. A label that is missing or misspelled makes no stranger: the key may be one
// whose tokens have to verify, so its parser refuses it.
func (l Labels) Stranger() string {
	switch {
	case l.Use == "enc", strings.HasPrefix(l.Alg, "RSA-OAEP"), strings.HasPrefix(l.Alg, "ECDH-ES"), l.Alg == "RSA1_5", l.CRV == "X25519", l.CRV == "X448":
		return "is for encryption, not for signatures"
	case l.Use != "" && !misspelled(l.Use, "sig"):
		return fmt.Sprintf("has the use %.20q, and only sig is for signatures", l.Use)
	case len(l.KeyOps) > 0 && !slices.Contains(l.KeyOps, "sign") && !slices.Contains(l.KeyOps, "verify"):
		return "is not for signatures: its key_ops name neither sign nor verify"
	case l.KTY == "oct":
		return "is a shared secret (oct): Keyward supports key pairs only"
	case !misspelled(l.KTY, "EC", "OKP", "RSA", "AKP"):
		return "has a kty that Keyward does not support"
	case l.KTY == "EC" && !misspelled(l.CRV, curveNames()...), l.KTY == "OKP" && !misspelled(l.CRV, "Ed25519"):
		return "has a crv that Keyward does not support"
	}
	return ""
}

// Unsupported returns why Keyward cannot import a key that is for signatures and of a type
// that it has; empty if it may be able to. Tokens of such a key will not verify.
func (l Labels) Unsupported() string {
	if _, err := keys.ParseAlgorithm(l.Alg); l.Alg != "" && err != nil {
		return "has an alg that Keyward does not support"
	}
	return ""
}

// KeyType returns the key type that a kty stands for. Azure Key Vault writes RSA-HSM and
// EC-HSM for keys that an HSM holds; the public halves are RSA and EC keys like others.
func KeyType(kty string) string {
	if plain, held := strings.CutSuffix(kty, "-HSM"); held && (plain == "RSA" || plain == "EC") {
		return plain
	}
	return kty
}

// misspelled reports whether a label is empty, or one of the names but for case, spaces
// and punctuation.
func misspelled(label string, names ...string) bool {
	letters := func(text string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, text)
	}
	label = letters(label)
	return label == "" || slices.ContainsFunc(names, func(name string) bool { return letters(name) == label })
}

// curveNames returns the names of the curves for ECDSA: those of RFC 7518, and those of
// SEC 2 and ANSI X9.62, which some systems write instead.
func curveNames() []string {
	names := []string{"secp256r1", "prime256v1", "secp384r1", "secp521r1"}
	for _, alg := range keys.Algorithms() {
		if curve := keys.Curve(alg); curve != nil {
			names = append(names, curve.Params().Name)
		}
	}
	return names
}

// forSignatures reports whether a stranger was made for signatures.
func (l Labels) forSignatures() bool {
	l.KTY = "" // the type alone says nothing of the purpose
	return l.Stranger() == ""
}

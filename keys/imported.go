package keys

import (
	"cmp"
	"crypto"
	"crypto/rsa"

	"github.com/go-jose/go-jose/v4"
)

// candidate checks everything about the key that needs no database.
func (r PrivateImport) candidate() (candidate, error) {
	if r.Alg == "" {
		return candidate{}, invalid("alg", "is required")
	}
	b, err := parsePrivateKey(r.Key)
	if err != nil {
		return candidate{}, err
	}
	if r.KID == "" && !ValidKID(b.kid) {
		b.kid = ""
	}
	c, err := b.candidate(r.Alg, r.KID)
	if err != nil {
		return candidate{}, err
	}
	if c.private, err = NewPrivate(c.alg, b.private); err != nil {
		return candidate{}, err
	}
	if !c.private.halves() {
		return candidate{}, invalid(fieldPrivate, "signs what its public half does not verify")
	}
	return c, nil
}

// candidates does the same for public keys.
func (r PublicImport) candidates() ([]candidate, bool, error) {
	bs, set, err := parsePublicKeys(r.Key)
	if err != nil {
		return nil, set, err
	}
	if set && r.KID != "" {
		return nil, set, invalid("kid", "must be absent: the keys of a JWK Set keep their own")
	}
	var cs []candidate
	seen := map[string]bool{}
	for _, b := range bs {
		alg := r.Alg
		if set && cmp.Or(b.alg, b.onlyAlgorithm()) != "" {
			alg = "" // in a set, alg is for the keys that need it
		}
		c, err := b.candidate(alg, r.KID)
		if err != nil {
			return nil, set, err
		}
		if seen[c.kid] {
			return nil, set, invalid(b.field+".kid", "is that of another key of the set")
		}
		seen[c.kid] = true
		cs = append(cs, c)
	}
	return cs, set, nil
}

// candidate names the key and its algorithm.
func (b brought) candidate(alg jose.SignatureAlgorithm, kid string) (candidate, error) {
	a, err := b.algorithm(alg)
	if err != nil {
		return candidate{}, err
	}
	if kid, err = b.name(kid); err != nil {
		return candidate{}, err
	}
	jwk, err := PublicJWK(b.public, a.name, kid)
	return candidate{alg: a.name, kid: kid, jwk: jwk, origin: Imported}, err
}

// name is the kid asked for, else the JWK's own, else the thumbprint. A public
// key whose own kid cannot be kept is refused, since the tokens it is here for
// name that kid.
func (b brought) name(asked string) (string, error) {
	const pattern = "1 to 128 letters, digits or . _ ~ -, and not one or two dots alone"
	switch {
	case asked != "" && !ValidKID(asked):
		return "", invalid("kid", "must be "+pattern)
	case asked != "":
		return asked, nil
	case b.kid != "" && !ValidKID(b.kid):
		return "", invalid(b.field+".kid", "is not one that is served here ("+pattern+"); give another, or take it out: tokens that name it verify nowhere then")
	case b.kid != "":
		return b.kid, nil
	}
	return Thumbprint(b.public)
}

// rsaBits is the length of an RSA modulus, 0 for other keys.
func rsaBits(pub crypto.PublicKey) int {
	if k, is := pub.(*rsa.PublicKey); is {
		return k.N.BitLen()
	}
	return 0
}

// uncompromised refuses keys that the tenant once revoked because somebody else
// had them, whatever they are called now.
func (l *ledger) uncompromised(cs []candidate) error {
	for _, k := range l.keys {
		if k.State != Revoked || k.RevocationReason != Compromised {
			continue
		}
		gone, err := ParsePublicJWK(k.Alg, k.PublicJWK)
		if err != nil {
			return err
		}
		for _, c := range cs {
			if again, err := ParsePublicJWK(c.alg, c.jwk); err == nil && samePublic(gone, again) {
				return forbidden("kid", "is of a key that this tenant revoked as compromised, as "+k.KID)
			}
		}
	}
	return nil
}

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
	c, err := importedCandidate(b, r.Alg, r.KID)
	if err != nil {
		return candidate{}, err
	}
	if c.private, err = NewPrivate(c.alg, b.private); err != nil {
		return candidate{}, err
	}
	if !c.private.Matches() {
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
		c, err := importedCandidate(b, alg, r.KID)
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

// importedCandidate names a key from elsewhere and its algorithm.
func importedCandidate(b brought, alg jose.SignatureAlgorithm, kid string) (candidate, error) {
	alg, err := b.algorithm(alg)
	if err != nil {
		return candidate{}, err
	}
	if kid, err = b.name(kid); err != nil {
		return candidate{}, err
	}
	jwk, err := PublicJWK(b.public, alg, kid)
	return candidate{alg: alg, kid: kid, jwk: jwk, origin: Imported}, err
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
			if again, err := ParsePublicJWK(c.alg, c.jwk); err == nil && EqualPublic(gone, again) {
				return forbidden("kid", "is of a key that this tenant revoked as compromised, as "+k.KID)
			}
		}
	}
	return nil
}

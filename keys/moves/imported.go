package moves

import (
	"cmp"
	"crypto"
	"crypto/rsa"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
)

// candidate checks everything about the key that needs no database.
func (r PrivateImport) candidate() (candidate, error) {
	if r.Alg == "" {
		return candidate{}, tokens.Invalid("alg", "is required")
	}
	b, err := keyfile.ParsePrivate(r.Key)
	if err != nil {
		return candidate{}, err
	}
	if r.KID == "" && !keys.ValidKID(b.KID) {
		b.KID = ""
	}
	c, err := importedCandidate(b, r.Alg, r.KID)
	if err != nil {
		return candidate{}, err
	}
	if c.private, err = keys.NewPrivate(c.alg, b.Private); err != nil {
		return candidate{}, err
	}
	if !c.private.Matches() {
		return candidate{}, tokens.Invalid(keyfile.FieldPrivate, "signs what its public half does not verify")
	}
	return c, nil
}

// candidates does the same for public keys.
func (r PublicImport) candidates() ([]candidate, bool, error) {
	bs, set, err := keyfile.ParsePublic(r.Key)
	if err != nil {
		return nil, set, err
	}
	if set && r.KID != "" {
		return nil, set, tokens.Invalid("kid", "must be absent: the keys of a JWK Set keep their own")
	}
	var cs []candidate
	seen := map[string]bool{}
	for _, b := range bs {
		alg := r.Alg
		if set && cmp.Or(b.Alg, b.OnlyAlgorithm()) != "" {
			alg = "" // in a set, alg is for the keys that need it
		}
		c, err := importedCandidate(b, alg, r.KID)
		if err != nil {
			return nil, set, err
		}
		if seen[c.kid] {
			return nil, set, tokens.Invalid(b.Field+".kid", "is that of another key of the set")
		}
		seen[c.kid] = true
		cs = append(cs, c)
	}
	return cs, set, nil
}

// importedCandidate names a key from elsewhere and its algorithm.
func importedCandidate(b keyfile.Key, alg jose.SignatureAlgorithm, kid string) (candidate, error) {
	alg, err := b.Algorithm(alg)
	if err != nil {
		return candidate{}, err
	}
	if kid, err = b.ChooseKID(kid); err != nil {
		return candidate{}, err
	}
	jwk, err := keys.PublicJWK(b.Public, alg, kid)
	return candidate{alg: alg, kid: kid, jwk: jwk, origin: keys.Imported}, err
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
		if k.State != keys.Revoked || k.RevocationReason != keys.Compromised {
			continue
		}
		gone, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
		if err != nil {
			return err
		}
		for _, c := range cs {
			if again, err := keys.ParsePublicJWK(c.alg, c.jwk); err == nil && keys.EqualPublic(gone, again) {
				return tokens.Forbidden("kid", "is of a key that this tenant revoked as compromised, as "+k.KID)
			}
		}
	}
	return nil
}

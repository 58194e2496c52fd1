package moving

import (
	"crypto"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
)

// PublicMaterial returns the public key as it is sent to be imported: a JWK without the
// labels of the source.
func (k Key) PublicMaterial() (json.RawMessage, error) {
	j := k.Public.numbers()
	if j.Kty == "AKP" {
		j.Alg = k.Public.Alg // a part of the key, RFC 9964
	}
	return json.Marshal(j)
}

// numbers returns the members that the key itself consists of.
func (j JWK) numbers() JWK {
	return JWK{Kty: j.Kty, Crv: j.Crv, X: j.X, Y: j.Y, N: j.N, E: j.E, Pub: j.Pub}
}

// PublicJWKs returns the public key as JWKs with its kid, one for each of its algorithms.
func (k Key) PublicJWKs() (jwks []json.RawMessage, err error) {
	algs := k.Algs
	if algs == nil {
		algs = []string{k.Alg}
	}
	for _, alg := range algs {
		j := k.Public.numbers()
		j.KID, j.Alg = k.KID, alg
		text, err := json.Marshal(j)
		if err != nil {
			return nil, err
		}
		jwks = append(jwks, text)
	}
	return jwks, nil
}

// labels returns what the key says of its kind and purpose.
func (j JWK) labels() keyfile.Labels {
	return keyfile.Labels{KTY: j.Kty, CRV: j.Crv, Use: j.Use, Alg: j.Alg, KeyOps: j.KeyOps}
}

// chooseAlgorithm sets the key's algorithm, or the reason for not importing it.
func (k *Key) chooseAlgorithm(s Settings) {
	if k.SkipReason != "" || k.RefuseReason != "" {
		return
	}
	switch labels := k.Public.labels(); {
	case labels.Stranger() != "":
		k.SkipReason, k.Stranger = labels.Stranger(), true
		return
	case labels.Unsupported() != "":
		k.RefuseReason = labels.Unsupported()
		return
	}
	k.parsed.Alg = jose.SignatureAlgorithm(k.Public.Alg)
	alg, err := k.parsed.ChooseAlgorithm(jose.SignatureAlgorithm(s.Alg))
	if k.Alg = string(alg); err != nil {
		k.Alg, k.RefuseReason = k.Public.Alg, keyfile.Fault(err)
	}
}

// judge returns why the import would refuse the key; empty if it would not. It reads the
// key with the parser of the import, so that a plan is what the run does.
func (k Key) judge(private bool) string {
	var parsed keyfile.Key
	material, err := k.PublicMaterial()
	if private {
		parsed, err = keyfile.ParsePrivate(k.Private)
	} else if err == nil {
		var set keyfile.Set
		if set, err = keyfile.ParsePublic(material); err == nil {
			parsed = set.Keys[0]
		}
	}
	if err == nil {
		_, err = parsed.Algorithm(jose.SignatureAlgorithm(k.Alg))
	}
	for _, alg := range k.Algs {
		if parsed.Alg = ""; err == nil {
			_, err = parsed.Algorithm(jose.SignatureAlgorithm(alg))
		}
	}
	if err == nil && k.KID != "" {
		_, err = keyfile.Key{Field: keyfile.FieldPublic, KID: k.KID}.ChooseKID("")
	}
	if err == nil {
		return ""
	}
	return keyfile.Fault(err)
}

// canonicalThumbprint returns the thumbprint of the key itself: leading zeros in numbers,
// or missing ones, make no other key. ok is false for what is no key for signatures.
func (j JWK) canonicalThumbprint() (thumbprint string, ok bool) {
	public, err := j.key()
	if err != nil {
		return "", false
	}
	thumbprint, err = keys.Thumbprint(public)
	return thumbprint, err == nil
}

// key parses the public key.
func (j JWK) key() (crypto.PublicKey, error) {
	material, err := Key{Public: j}.PublicMaterial()
	if err != nil {
		return nil, err
	}
	set, err := keyfile.ParsePublic(material)
	if err != nil {
		return nil, err
	}
	return set.Keys[0].Public, nil
}

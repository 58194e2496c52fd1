package keyfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/keys/tokens"
)

// foreignJWK reads members of a JWK. The first fault stays in err; what is read
// after it does not count.
type foreignJWK struct {
	field   string
	members map[string]json.RawMessage
	err     error
}

func privateJWK(raw []byte) (Key, error) {
	members, err := tokens.ParseObject(raw)
	if err != nil {
		return Key{}, tokens.Invalid(FieldPrivate, err.Error())
	}
	if _, set := members["keys"]; set {
		return Key{}, tokens.Invalid(FieldPrivate, "is a JWK Set; import one of its keys at a time")
	}
	j := &foreignJWK{field: FieldPrivate, members: members}
	if !j.has("d") && !j.has("k") {
		return Key{}, tokens.Invalid(FieldPrivate, "is a public JWK; it is imported as public_key, with expires_at")
	}
	return j.key(true)
}

func publicJWKs(raw []byte) ([]Key, bool, error) {
	members, err := tokens.ParseObject(raw)
	if err != nil {
		return nil, false, tokens.Invalid(FieldPublic, err.Error())
	}
	if list, set := members["keys"]; set {
		keys, err := keysOfSet(list)
		return keys, true, err
	}
	b, err := (&foreignJWK{field: FieldPublic, members: members}).key(false)
	return []Key{b}, false, err
}

// keysOfSet reads the keys of a JWK Set (RFC 7517 section 5) that are for
// signatures. Those that are not, by what they say themselves, stay behind.
func keysOfSet(list json.RawMessage) ([]Key, error) {
	var items []json.RawMessage
	const field = FieldPublic + ".keys"
	if err := json.Unmarshal(list, &items); err != nil || items == nil {
		return nil, tokens.Invalid(field, "must be an array of JWKs")
	}
	if len(items) > MaxKeys {
		return nil, tokens.Invalid(field, fmt.Sprintf("must have at most %d keys", MaxKeys))
	}
	var keys []Key
	for i, item := range items {
		j := &foreignJWK{field: fmt.Sprintf("%s[%d]", field, i)}
		var err error
		if j.members, err = tokens.ParseObject(item); err != nil {
			return nil, tokens.Invalid(j.field, err.Error())
		}
		encrypts := j.encrypts()
		if j.err != nil {
			return nil, j.err
		}
		if encrypts {
			continue
		}
		b, err := j.key(false)
		if err != nil {
			return nil, err
		}
		keys = append(keys, b)
	}
	if len(keys) == 0 {
		return nil, tokens.Invalid(field, "has no key for signatures")
	}
	return keys, nil
}

// key reads the key and what it says of itself.
func (j *foreignJWK) key(private bool) (Key, error) {
	j.refuse(private)
	b := Key{Field: j.field, KID: j.text("kid"), Alg: jose.SignatureAlgorithm(j.text("alg"))}
	switch kty := j.text("kty"); kty {
	case "EC":
		j.ec(&b, private)
	case "OKP":
		j.okp(&b, private)
	case "RSA":
		j.rsa(&b, private)
	case "oct":
		j.fail("kty", "is oct, a shared secret; only asymmetric keys are imported, so that who verifies cannot sign")
	default:
		j.fail("kty", "must be EC, OKP or RSA")
	}
	if j.err != nil {
		return Key{}, j.err
	}
	return b, nil
}

// refuse finds keys for other ends than signatures (RFC 7517 sections 4.2 and
// 4.3), and private members where only public ones belong.
func (j *foreignJWK) refuse(private bool) {
	if use := j.text("use"); use != "" && use != "sig" {
		j.fail("use", "must be sig: the key is not for signatures")
	}
	operation := map[bool]string{true: "sign", false: "verify"}[private]
	if ops, given := j.operations(); given && !slices.Contains(ops, operation) {
		j.fail("key_ops", "must name "+operation)
	}
	if j.has("oth") {
		j.fail("oth", "must be absent: RSA keys of more than two primes are not imported")
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		if !private && j.has(name) {
			j.fail(name, "is private; send the public members alone, or the whole key as private_key to sign with it")
		}
	}
}

// encrypts reports whether a key says that it is not for signatures.
func (j *foreignJWK) encrypts() bool {
	alg, crv := j.text("alg"), j.text("crv")
	ops, given := j.operations()
	return (j.has("use") && j.text("use") != "sig") || (given && !slices.Contains(ops, "verify")) ||
		strings.HasPrefix(alg, "RSA-OAEP") || strings.HasPrefix(alg, "ECDH-ES") || alg == "RSA1_5" || crv == "X25519" || crv == "X448"
}

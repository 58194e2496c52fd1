package jwks

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reasons why a key of a set is not used. They reach [Config.OnSkip].
var (
	errNotKey    = errors.New("it is not a JSON object with each member once")
	errPrivate   = errors.New("it is a private or symmetric key, which has no place in a published set")
	errUse       = errors.New("it is not for signatures")
	errType      = errors.New("its type, curve or algorithm is unknown")
	errNumbers   = errors.New("its numbers are missing, malformed or not on its curve")
	errWeak      = errors.New("it is an RSA key of fewer than 2048 or more than 8192 bits, or with a bad exponent")
	errROCA      = errors.New("it is an RSA key of a generator whose keys can be factored (CVE-2017-15361)")
	errAlgorithm = errors.New("its alg is not one of its type")
)

// jwk holds the members that decide about a public key (RFC 7517 section 4, RFC
// 7518 section 6, RFC 8037 section 2, RFC 9964). Names are compared exactly. Members that
// are null, and lists that are empty, say nothing: .NET writes them.
type jwk struct {
	kty, crv, kid, use, alg string
	n, e, x, y, pub         string // base64url
	keyOps                  []string
	private                 bool
}

// privateMembers are those that only private and symmetric keys have (RFC 7518
// sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2, RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// parseKey parses one key of a set. It returns the kid with every error, as far as
// there is one.
func parseKey(raw string) (*Key, string, error) {
	var j jwk
	var wrong error
	if !eachMember(raw, func(name, value string) {
		if !j.setMember(name, value) {
			wrong = fmt.Errorf("its member %q is of a wrong type", name)
		}
	}) {
		return nil, j.kid, errNotKey
	}
	switch {
	case j.private || j.kty == "oct":
		return nil, j.kid, errPrivate
	case wrong != nil:
		return nil, j.kid, wrong
	}
	alg, err := j.algorithm()
	if err != nil {
		return nil, j.kid, err
	}
	public, err := j.publicKey()
	if err != nil {
		return nil, j.kid, err
	}
	return &Key{id: j.kid, key: public, alg: alg, fixed: j.alg != ""}, j.kid, nil
}

// setMember takes a member in. It returns false if the value is of a wrong type.
func (j *jwk) setMember(name, value string) (ok bool) {
	if value == "null" || isEmptyList(value) {
		return true
	}
	if slices.Contains(privateMembers, name) {
		j.private = true
		return true
	}
	var field *string
	switch name {
	case "kty":
		field = &j.kty
	case "crv":
		field = &j.crv
	case "kid":
		field = &j.kid
	case "use":
		field = &j.use
	case "alg":
		field = &j.alg
	case "n":
		field = &j.n
	case "e":
		field = &j.e
	case "x":
		field = &j.x
	case "y":
		field = &j.y
	case "pub":
		field = &j.pub
	case "key_ops":
		j.keyOps, ok = parseStrings(value)
		return ok
	default:
		return true
	}
	*field, ok = unquoteString(value)
	return ok
}

// isEmptyList reports whether a JSON value is a list without elements.
func isEmptyList(value string) bool {
	inner, isList := strings.CutPrefix(value, "[")
	return isList && strings.TrimLeft(inner, " \t\r\n") == "]"
}

// algorithm returns the algorithm that the key verifies, or why it verifies none.
func (j *jwk) algorithm() (*algorithm, error) {
	if j.use != "" && j.use != "sig" || len(j.keyOps) > 0 && !slices.Contains(j.keyOps, "verify") {
		return nil, errUse
	}
	switch j.kty {
	case "RSA":
		j.crv = ""
	case "AKP":
		j.crv = j.alg
	}
	typical := defaultAlgorithm(j.kty, j.crv)
	if typical == nil {
		return nil, errType
	}
	if j.alg == "" {
		return typical, nil
	}
	own := algorithmByName(j.alg)
	if own == nil || own.kty != typical.kty || own.curve != typical.curve {
		return nil, errAlgorithm
	}
	return own, nil
}

// publicKey makes the key of its own members alone. Certificates are left out: no
// chain is verified here, so they could prove nothing.
func (j *jwk) publicKey() (crypto.PublicKey, error) {
	switch j.kty {
	case "RSA":
		return newRSAKey(j.n, j.e)
	case "EC":
		return newECKey(j.crv, j.x, j.y)
	case "AKP":
		return newMLDSAKey(j.alg, j.pub)
	}
	return newEdKey(j.x)
}

package jwks

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Reasons why a key of a set is not used. They reach [Config.OnSkip].
var (
	errPrivate   = errors.New("it is a private or symmetric key, which has no place in a published set")
	errUse       = errors.New("it is not for signatures")
	errType      = errors.New("its type, curve or algorithm is unknown")
	errWeak      = errors.New("it is an RSA key of fewer than 2048 or more than 8192 bits, or with a bad exponent")
	errAlgorithm = errors.New("its alg is not one of its type")
)

// jwk has the members of RFC 7517 section 4 that decide about a key.
type jwk struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv"`
	Kid    string   `json:"kid"`
	Use    string   `json:"use"`
	Alg    string   `json:"alg"`
	KeyOps []string `json:"key_ops"`
}

// private are the members that only private and symmetric keys have (RFC 7518
// sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2, RFC 9964).
var private = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// parseKey reads one key of a set. It gives the kid with every error, as far
// as there is one.
func parseKey(raw json.RawMessage) (*Key, string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, "", fmt.Errorf("it is not a JSON object: %w", err)
	}
	var about jwk
	if err := json.Unmarshal(raw, &about); err != nil {
		return nil, "", fmt.Errorf("a member is of a wrong type: %w", err)
	}
	for _, name := range private {
		if _, has := members[name]; has || about.Kty == "oct" {
			return nil, about.Kid, errPrivate
		}
	}
	alg, err := about.algorithm()
	if err != nil {
		return nil, about.Kid, err
	}
	public, err := importKey(members)
	if err == nil {
		err = strong(public)
	}
	return &Key{id: about.Kid, key: public, alg: alg, fixed: about.Alg != ""}, about.Kid, err
}

// algorithm says what the key verifies, if it is for that at all.
func (j jwk) algorithm() (*algorithm, error) {
	if j.Use != "" && j.Use != "sig" || !j.verifies() {
		return nil, errUse
	}
	if j.Kty == "RSA" {
		j.Crv = ""
	}
	typical := usual(j.Kty, j.Crv)
	if typical == nil {
		return nil, errType
	}
	if j.Alg == "" {
		return typical, nil
	}
	own := named(j.Alg)
	if own == nil || own.kty != typical.kty || own.curve != typical.curve {
		return nil, errAlgorithm
	}
	return own, nil
}

// verifies is true if key_ops allows it, or is absent (RFC 7517 section 4.3).
func (j jwk) verifies() bool {
	for _, op := range j.KeyOps {
		if op == "verify" {
			return true
		}
	}
	return j.KeyOps == nil
}

package keyfile

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/keyward/keyward/keys/tokens"
)

func (j *foreignJWK) operations() (ops []string, given bool) {
	if !j.has("key_ops") {
		return nil, false
	}
	if json.Unmarshal(j.members["key_ops"], &ops) != nil {
		j.fail("key_ops", "must be an array of strings")
	}
	return ops, true
}

func (j *foreignJWK) has(name string) bool {
	_, given := j.members[name]
	return given
}

func (j *foreignJWK) fail(name, message string) {
	if j.err == nil {
		j.err = tokens.Invalid(strings.TrimSuffix(j.field+"."+name, "."), message)
	}
}

// text is a member that is a string; empty if there is none.
func (j *foreignJWK) text(name string) (s string) {
	if raw, given := j.members[name]; given {
		if bytes.HasPrefix(raw, []byte("null")) || json.Unmarshal(raw, &s) != nil {
			j.fail(name, "must be a string")
		}
	}
	return s
}

// octets is a member that is base64url (RFC 7515 section 2).
func (j *foreignJWK) octets(name string) []byte {
	if !j.has(name) {
		j.fail(name, "is required")
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(j.text(name))
	if err != nil || len(b) == 0 || len(b) > maxRSABits/8+1 {
		j.fail(name, "is not a number in base64url without padding")
		return nil
	}
	return b
}

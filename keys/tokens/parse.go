package tokens

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxToken bounds a token in bytes: more than anything that is signed here.
const maxToken = 256 << 10

// unverified is a compact JWS of which nothing is known but its form. What
// could lead to another key than the kid's (jwk, jku, x5u, x5c: RFC 8725
// section 3.10) is not even read.
type unverified struct {
	rawHeader json.RawMessage
	alg       jose.SignatureAlgorithm
	kid       string
	typ       string
	payload   []byte
	signed    []byte // the JWS signing input
	signature []byte
}

// parseToken takes a compact JWS apart (RFC 7515 section 5.2, steps 1 to 7).
// Its error is a *[VerifyError].
func parseToken(token string) (*unverified, error) {
	if len(token) > maxToken {
		return nil, fail(CodeMalformed, "longer than "+strconv.Itoa(maxToken)+" bytes")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fail(CodeMalformed, "a token has three parts, separated by dots")
	}
	u := &unverified{signed: []byte(token[:len(parts[0])+1+len(parts[1])])}
	for i, into := range []*[]byte{(*[]byte)(&u.rawHeader), &u.payload, &u.signature} {
		part, err := decode(parts[i])
		if err != nil {
			return nil, fail(CodeMalformed, "a part is not base64url without padding")
		}
		*into = part
	}
	return u, u.readHeader()
}

// decode reads base64url in the one way there is to write it: no padding, no
// line breaks (which package base64 skips), no stray bits at the end.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func (u *unverified) readHeader() error {
	header, err := ParseObject(u.rawHeader)
	if err != nil {
		return fail(CodeMalformed, "the header "+err.Error())
	}
	var alg string
	for name, into := range map[string]*string{"alg": &alg, "kid": &u.kid, "typ": &u.typ} {
		raw, given := header[name]
		if *into, _ = text(raw); given && raw[0] != '"' {
			return fail(CodeMalformed, "the header's "+name+" is not a string")
		}
	}
	if alg == "" {
		return fail(CodeMalformed, "the header has no alg")
	}
	u.alg = jose.SignatureAlgorithm(alg)
	return critical(header)
}

// critical refuses every token that says its verifier must understand some
// extension (RFC 7515 section 4.1.11): none is understood here. "b64" is no
// exception, it has no place in a JWT (RFC 7797 section 7).
func critical(header map[string]json.RawMessage) error {
	if raw, given := header["b64"]; given && string(raw) != "true" {
		return fail(CodeUnknownCriticalHeader, "b64")
	}
	raw, given := header["crit"]
	if !given {
		return nil
	}
	names, ok := audiences(raw) // the same form, but for the lone string
	if !ok || raw[0] != '[' || len(names) == 0 {
		return fail(CodeMalformed, "the header's crit is not a list of names")
	}
	return fail(CodeUnknownCriticalHeader, "an extension is marked critical that is not understood here")
}

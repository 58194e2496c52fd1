package tokens

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys"
)

// Code is the reason why a token is not valid.
type Code string

// The codes, in the order in which the checks are made: the first one to fail
// decides.
const (
	CodeMalformed             Code = "malformed"
	CodeUnknownCriticalHeader Code = "unknown_critical_header"
	CodeAlgorithmNotAllowed   Code = "algorithm_not_allowed"
	CodeUnknownKey            Code = "unknown_key"
	CodeKeyRevoked            Code = "key_revoked"
	CodeKeyExpired            Code = "key_expired"
	CodeBadSignature          Code = "bad_signature"
	CodeWrongType             Code = "wrong_type"
	CodeWrongIssuer           Code = "wrong_issuer"
	CodeWrongAudience         Code = "wrong_audience"
	CodeExpired               Code = "expired"
	CodeNotYetValid           Code = "not_yet_valid"
)

// VerifyError is returned for an invalid token. Detail contains nothing that
// the token's sender does not know.
type VerifyError struct {
	Code   Code
	Detail string
}

// Error returns the code and the detail.
func (e *VerifyError) Error() string { return "keys: " + string(e.Code) + ": " + e.Detail }

func verifyError(code Code, detail string) error { return &VerifyError{code, detail} }

// VerificationKey is the key of a kid. Verify parses the public key if Public
// is nil.
type VerificationKey struct {
	keys.Key
	Public crypto.PublicKey
}

// Finder returns the key of a kid, for the algorithm if the key has it.
type Finder func(kid string, alg jose.SignatureAlgorithm) (k VerificationKey, found bool, err error)

// Verdict is the result of a verification. For an invalid token it has the
// header if it could be read, the key if it was found, and the claims if the
// signature was valid.
type Verdict struct {
	Header json.RawMessage
	KID    string
	State  keys.State
	Claims json.RawMessage
}

// Verify verifies a compact JWT (RFC 7519 section 7.2, RFC 8725). It looks up
// the key by the header's kid with find, uses an algorithm of that key only, and
// ignores keys and URLs in the header. Errors: *[VerifyError] for an invalid
// token, and those of find.
func Verify(token string, e Expectation, find Finder) (Verdict, error) {
	u, err := parseToken(token)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Header: u.rawHeader, KID: u.kid}
	k, err := u.verificationKey(find)
	v.State = k.State
	if err != nil {
		return v, err
	}
	if !keys.VerifySignature(k.Public, u.alg, u.signed, u.signature) {
		return v, verifyError(CodeBadSignature, "the signature does not match")
	}
	claims, err := strictjson.ParseObject(u.payload)
	if err != nil {
		return v, verifyError(CodeMalformed, "the payload "+err.Error())
	}
	v.Claims = u.payload
	if len(e.Algorithms) > 0 && !slices.Contains(e.Algorithms, string(u.alg)) {
		return v, verifyError(CodeAlgorithmNotAllowed, "the algorithm is not one of those asked for")
	}
	if err := e.checkType(u); err != nil {
		return v, err
	}
	return v, e.checkClaims(claims)
}

// verificationKey returns the key that the header names, with its public key
// parsed.
func (u *unverified) verificationKey(find Finder) (VerificationKey, error) {
	if _, err := keys.ParseAlgorithm(string(u.alg)); err != nil {
		return VerificationKey{}, verifyError(CodeAlgorithmNotAllowed, "the algorithm is not one that is signed with here")
	}
	if !keys.ValidKID(u.kid) {
		return VerificationKey{}, verifyError(CodeUnknownKey, "the token names no key of the tenant")
	}
	k, found, err := find(u.kid, u.alg)
	if err != nil {
		return VerificationKey{}, err
	}
	if !found {
		return VerificationKey{}, verifyError(CodeUnknownKey, "the token names no key of the tenant")
	}
	if !slices.Contains(k.Algorithms(), u.alg) {
		return k, verifyError(CodeAlgorithmNotAllowed, "the key signs with another algorithm")
	}
	if err := k.checkState(); err != nil {
		return k, err
	}
	if k.Public == nil {
		k.Public, err = keys.ParsePublicJWK(k.Alg, k.PublicJWK)
	}
	return k, err
}

// checkState refuses a key that is not in the JWKS.
func (k VerificationKey) checkState() error {
	switch {
	case k.State.Published():
		return nil
	case k.RevokedAt != nil:
		return verifyError(CodeKeyRevoked, "the key was revoked")
	}
	return verifyError(CodeKeyExpired, "the key has left the JWKS")
}

// maxToken bounds a token in bytes: more than anything that is signed here, since
// base64url makes four bytes of three.
const maxToken = 2 * (maxClaims + maxHeader)

// unverified is a parsed compact JWS whose signature is not checked. Header
// members that lead to a key other than the kid's (jwk, jku, x5u, x5c: RFC 8725
// section 3.10) are not read.
type unverified struct {
	rawHeader json.RawMessage
	alg       jose.SignatureAlgorithm
	kid       string
	typ       string
	payload   []byte
	signed    []byte // the JWS signing input
	signature []byte
}

// parseToken splits and decodes a compact JWS (RFC 7515 section 5.2, steps 1 to
// 7). Errors: *[VerifyError].
func parseToken(token string) (*unverified, error) {
	if len(token) > maxToken {
		return nil, verifyError(CodeMalformed, "longer than "+strconv.Itoa(maxToken)+" bytes")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, verifyError(CodeMalformed, "a token has three parts, separated by dots")
	}
	u := &unverified{signed: []byte(token[:len(parts[0])+1+len(parts[1])])}
	for i, into := range []*[]byte{(*[]byte)(&u.rawHeader), &u.payload, &u.signature} {
		part, err := decodeBase64URL(parts[i])
		if err != nil {
			return nil, verifyError(CodeMalformed, "a part is not base64url without padding")
		}
		*into = part
	}
	return u, u.readHeader()
}

// decodeBase64URL decodes base64url in its only canonical form: without
// padding, line breaks (which package base64 skips) or extra bits at the end.
func decodeBase64URL(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func (u *unverified) readHeader() error {
	header, err := strictjson.ParseObject(u.rawHeader)
	if err != nil {
		return verifyError(CodeMalformed, "the header "+err.Error())
	}
	var alg string
	for i, into := range [...]*string{&alg, &u.kid, &u.typ} {
		name := [...]string{"alg", "kid", "typ"}[i]
		raw, given := header[name]
		if *into, _ = unquoteString(raw); given && raw[0] != '"' {
			return verifyError(CodeMalformed, "the header's "+name+" is not a string")
		}
	}
	if alg == "" {
		return verifyError(CodeMalformed, "the header has no alg")
	}
	u.alg = jose.SignatureAlgorithm(alg)
	return refuseCritical(header)
}

// refuseCritical refuses a token with critical extensions (RFC 7515 section
// 4.1.11), because none is supported, including "b64", which JWTs cannot use
// (RFC 7797 section 7).
func refuseCritical(header map[string]json.RawMessage) error {
	if raw, given := header["b64"]; given && string(raw) != "true" {
		return verifyError(CodeUnknownCriticalHeader, "b64")
	}
	raw, given := header["crit"]
	if !given {
		return nil
	}
	names, ok := parseAudience(raw) // the same form, but for the lone string
	if !ok || raw[0] != '[' || len(names) == 0 {
		return verifyError(CodeMalformed, "the header's crit is not a list of names")
	}
	return verifyError(CodeUnknownCriticalHeader, "an extension is marked critical that is not understood here")
}

// Expectation lists what a token must satisfy besides its signature.
type Expectation struct {
	Now        time.Time
	Skew       time.Duration // leeway on exp, nbf and iat
	Issuer     string
	AnyIssuer  bool       // iss is not checked and may be absent
	Audience   string     // empty: any
	Algorithms []string   // empty: any that the key is for
	Required   []string   // claims that must be there and not null
	Type       string     // the typ of the header; empty: any
	NotBefore  *time.Time // the tenant's: tokens issued earlier are refused
}

// checkType compares the typ as media types are (RFC 7515 section 4.1.9):
// without regard to case, and with "application/" where it was left out.
func (e Expectation) checkType(u *unverified) error {
	if e.Type == "" || mediaType(u.typ) == mediaType(e.Type) {
		return nil
	}
	return verifyError(CodeWrongType, "the header's typ is not the one asked for")
}

func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if typ == "" || strings.Contains(typ, "/") {
		return typ
	}
	return "application/" + typ
}

// checkClaims checks iss, aud, exp, nbf and iat (RFC 7519 section 4.1). A token
// without exp is refused.
func (e Expectation) checkClaims(claims map[string]json.RawMessage) error {
	for _, name := range e.Required {
		if raw := claims[name]; raw == nil || string(raw) == "null" {
			return verifyError(CodeMalformed, "a required claim is missing: "+name)
		}
	}
	if iss, ok := unquoteString(claims["iss"]); !e.AnyIssuer && (!ok || iss != e.Issuer) {
		return verifyError(CodeWrongIssuer, "iss is not the issuer that was expected")
	}
	aud, ok := parseAudience(claims["aud"])
	if _, given := claims["aud"]; given && !ok {
		return verifyError(CodeMalformed, "aud is not a string or an array of strings")
	}
	if e.Audience != "" && !slices.Contains(aud, e.Audience) {
		return verifyError(CodeWrongAudience, "aud does not name the audience asked for")
	}
	return e.checkTimes(claims)
}

func (e Expectation) checkTimes(claims map[string]json.RawMessage) error {
	var exp, nbf, iat float64
	for name, into := range map[string]*float64{"exp": &exp, "nbf": &nbf, "iat": &iat} {
		raw, given := claims[name]
		at, err := strconv.ParseFloat(string(raw), 64)
		if given && err != nil {
			return verifyError(CodeMalformed, name+" is not a number of seconds")
		}
		if at >= maxDate {
			return verifyError(CodeMalformed, name+" is in seconds; this looks like milliseconds")
		}
		if *into = at; !given && name == "exp" {
			return verifyError(CodeMalformed, "there is no exp")
		}
	}
	now, skew := float64(e.Now.UnixMicro())/1e6, e.Skew.Seconds()
	switch {
	case now >= exp+skew:
		return verifyError(CodeExpired, "exp has passed")
	case nbf > now+skew:
		return verifyError(CodeNotYetValid, "nbf has not come")
	case iat > now+skew:
		return verifyError(CodeNotYetValid, "iat is in the future")
	case e.NotBefore != nil && iat < float64(e.NotBefore.UnixMicro())/1e6:
		return verifyError(CodeExpired, "issued before the tenant's not_before")
	}
	return nil
}

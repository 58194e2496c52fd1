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

// Code says why a token is not valid.
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

// VerifyError says why a token is not valid. Its detail carries nothing of the
// token but what the sender of the token already knows.
type VerifyError struct {
	Code   Code
	Detail string
}

// Error is the code and the detail.
func (e *VerifyError) Error() string { return "keys: " + string(e.Code) + ": " + e.Detail }

func fail(code Code, detail string) error { return &VerifyError{code, detail} }

// VerificationKey is the key that a kid names, and its public key if the caller has
// it parsed; otherwise it is parsed here.
type VerificationKey struct {
	keys.Key
	Public crypto.PublicKey
}

// Verdict is what is known of a token, valid or not: the header once it could
// be read, the key once it was found, the claims once the signature was right.
type Verdict struct {
	Header json.RawMessage
	KID    string
	State  keys.State
	Claims json.RawMessage
}

// Verify checks one compact JWT (RFC 7519 section 7.2, RFC 8725). The kid
// selects exactly one key by way of find, whose second result says whether
// there is one; the algorithm is that of the key, and keys or URLs of keys in
// the header are not looked at. The error is a *[VerifyError] for a token that
// is not valid, or what find failed with.
func Verify(token string, e Expectation, find func(kid string) (VerificationKey, bool, error)) (Verdict, error) {
	u, err := parseToken(token)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Header: u.rawHeader, KID: u.kid}
	k, err := u.key(find)
	v.State = k.State
	if err != nil {
		return v, err
	}
	if !keys.VerifySignature(k.Public, k.Alg, u.signed, u.signature) {
		return v, fail(CodeBadSignature, "the signature does not match")
	}
	claims, err := strictjson.ParseObject(u.payload)
	if err != nil {
		return v, fail(CodeMalformed, "the payload "+err.Error())
	}
	v.Claims = u.payload
	if err := e.checkType(u); err != nil {
		return v, err
	}
	return v, e.checkClaims(claims)
}

// key is the one key that may have signed the token.
func (u *unverified) key(find func(string) (VerificationKey, bool, error)) (VerificationKey, error) {
	if _, err := keys.ParseAlgorithm(string(u.alg)); err != nil {
		return VerificationKey{}, fail(CodeAlgorithmNotAllowed, "the algorithm is not one that is signed with here")
	}
	if !keys.ValidKID(u.kid) {
		return VerificationKey{}, fail(CodeUnknownKey, "the token names no key of the tenant")
	}
	k, found, err := find(u.kid)
	if err != nil {
		return VerificationKey{}, err
	}
	if !found {
		return VerificationKey{}, fail(CodeUnknownKey, "the token names no key of the tenant")
	}
	if u.alg != k.Alg {
		return k, fail(CodeAlgorithmNotAllowed, "the key signs with another algorithm")
	}
	if err := k.trusted(); err != nil {
		return k, err
	}
	if k.Public == nil {
		k.Public, err = keys.ParsePublicJWK(k.Alg, k.PublicJWK)
	}
	return k, err
}

// trusted says whether the key's state lets its tokens be valid.
func (k VerificationKey) trusted() error {
	switch {
	case k.State.Published():
		return nil
	case k.RevokedAt != nil:
		return fail(CodeKeyRevoked, "the key was revoked")
	}
	return fail(CodeKeyExpired, "the key has left the JWKS")
}

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
	header, err := strictjson.ParseObject(u.rawHeader)
	if err != nil {
		return fail(CodeMalformed, "the header "+err.Error())
	}
	var alg string
	for name, into := range map[string]*string{"alg": &alg, "kid": &u.kid, "typ": &u.typ} {
		raw, given := header[name]
		if *into, _ = unquoteString(raw); given && raw[0] != '"' {
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

// Expectation is what a token is held to beyond its signature.
type Expectation struct {
	Now       time.Time
	Skew      time.Duration // leeway on exp, nbf and iat
	Issuer    string
	Audience  string     // empty: any
	Type      string     // the typ of the header; empty: any
	NotBefore *time.Time // the tenant's: tokens issued earlier are refused
}

// checkType compares the typ as media types are (RFC 7515 section 4.1.9):
// without regard to case, and with "application/" where it was left out.
func (e Expectation) checkType(u *unverified) error {
	if e.Type == "" || mediaType(u.typ) == mediaType(e.Type) {
		return nil
	}
	return fail(CodeWrongType, "the header's typ is not the one asked for")
}

func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if typ == "" || strings.Contains(typ, "/") {
		return typ
	}
	return "application/" + typ
}

// checkClaims checks the claims of RFC 7519 section 4.1 that bear on whether
// the token is valid. A token without exp is no token of this platform.
func (e Expectation) checkClaims(claims map[string]json.RawMessage) error {
	if iss, ok := unquoteString(claims["iss"]); !ok || iss != e.Issuer {
		return fail(CodeWrongIssuer, "iss is not the issuer that was expected")
	}
	aud, ok := audiences(claims["aud"])
	if _, given := claims["aud"]; given && !ok {
		return fail(CodeMalformed, "aud is not a string or an array of strings")
	}
	if e.Audience != "" && !slices.Contains(aud, e.Audience) {
		return fail(CodeWrongAudience, "aud does not name the audience asked for")
	}
	return e.checkTimes(claims)
}

func (e Expectation) checkTimes(claims map[string]json.RawMessage) error {
	var exp, nbf, iat float64
	for name, into := range map[string]*float64{"exp": &exp, "nbf": &nbf, "iat": &iat} {
		raw, given := claims[name]
		at, err := strconv.ParseFloat(string(raw), 64)
		if given && err != nil {
			return fail(CodeMalformed, name+" is not a number of seconds")
		}
		if *into = at; !given && name == "exp" {
			return fail(CodeMalformed, "there is no exp")
		}
	}
	now, skew := float64(e.Now.UnixMicro())/1e6, e.Skew.Seconds()
	switch {
	case now >= exp+skew:
		return fail(CodeExpired, "exp has passed")
	case nbf > now+skew:
		return fail(CodeNotYetValid, "nbf has not come")
	case iat > now+skew:
		return fail(CodeNotYetValid, "iat is in the future")
	case e.NotBefore != nil && iat < float64(e.NotBefore.UnixMicro())/1e6:
		return fail(CodeExpired, "issued before the tenant's not_before")
	}
	return nil
}

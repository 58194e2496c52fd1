package tokens

import (
	"crypto"
	"encoding/json"

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
	claims, err := ParseObject(u.payload)
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

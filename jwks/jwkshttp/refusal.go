package jwkshttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/keyward/keyward/jwks"
)

// A Refusal is the answer to a request whose token is not accepted. As JSON it is a
// problem of RFC 9457.
type Refusal struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"` // stable, for programs

	Challenge  string `json:"-"` // WWW-Authenticate; "" is none
	RetryAfter string `json:"-"` // Retry-After, in seconds; "" is none
	Err        error  `json:"-"` // the cause; not sent to the caller
}

// rule maps an error to an answer. bearer is the error code of RFC 6750 section
// 3.1; "" where the token is not at fault.
type rule struct {
	err    error
	status int
	code   string
	bearer string
	detail string
}

// rules are ordered: the first whose error matches counts.
var rules = []rule{
	{ErrNoToken, http.StatusUnauthorized, "token_missing", "", ""},
	{ErrRequest, http.StatusBadRequest, "invalid_request", "invalid_request", "the Authorization field is malformed"},
	{jwks.ErrScope, http.StatusForbidden, "insufficient_scope", "insufficient_scope", "the token does not allow this"},
	{jwks.ErrMalformed, http.StatusUnauthorized, "token_malformed", invalid, "the token is malformed"},
	{jwks.ErrAlgorithm, http.StatusUnauthorized, "algorithm_not_accepted", invalid, "the token's algorithm is not accepted"},
	{jwks.ErrSignature, http.StatusUnauthorized, "signature_wrong", invalid, "the token's signature is wrong"},
	{jwks.ErrIssuer, http.StatusUnauthorized, "issuer_not_accepted", invalid, "the token's issuer is not accepted"},
	{jwks.ErrAudience, http.StatusUnauthorized, "audience_not_accepted", invalid, "the token is for another audience"},
	{jwks.ErrExpired, http.StatusUnauthorized, "token_expired", invalid, "the token has expired"},
	{jwks.ErrNotYetValid, http.StatusUnauthorized, "token_not_yet_valid", invalid, "the token is not valid yet"},
	{jwks.ErrType, http.StatusUnauthorized, "type_not_accepted", invalid, "the token's type is not accepted"},
	{jwks.ErrClaim, http.StatusUnauthorized, "claim_missing", invalid, "a claim of the token is missing or malformed"},
	{jwks.ErrToken, http.StatusUnauthorized, "token_refused", invalid, "the token is not acceptable"},
	{jwks.ErrSigningKeyNotFound, http.StatusUnauthorized, "key_not_found", invalid, "no signing key matches the token"},
	{jwks.ErrRateLimited, http.StatusTooManyRequests, "rate_limited", "", "too many requests for the issuer's keys"},
	{jwks.ErrJWKS, http.StatusServiceUnavailable, "keys_unavailable", "", "the issuer's keys are unavailable"},
}

const invalid = "invalid_token"

// problemType begins the type of a problem; its code follows.
const problemType = "urn:keyward:problem:"

// Refuse returns the refusal for an error of this package or of package jwks. An
// error of a context is 503, any other is 500.
func Refuse(err error, realm string, scopes ...string) *Refusal {
	r := rule{status: http.StatusInternalServerError, code: "internal_error"}
	if isCanceled(err) {
		r = rule{status: http.StatusServiceUnavailable, code: "timeout"}
	}
	for _, other := range rules {
		if errors.Is(err, other.err) {
			r = other
			break
		}
	}
	refusal := &Refusal{
		Type: problemType + r.code, Title: http.StatusText(r.status), Status: r.status, Detail: r.detail, Code: r.code,
		Err: err,
	}
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		refusal.RetryAfter = jwks.RetryAfter(err)
	}
	if r.bearer != "" || errors.Is(err, ErrNoToken) {
		refusal.Challenge = newChallenge(realm, r, scopes)
	}
	return refusal
}

// newChallenge returns the value of WWW-Authenticate (RFC 6750 section 3), without
// an error code if there was no token.
func newChallenge(realm string, r rule, scopes []string) string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quotableText(value)+`"`)
		}
	}
	add("realm", realm)
	add("error", r.bearer)
	add("error_description", r.detail)
	if r.bearer == "insufficient_scope" {
		add("scope", strings.Join(scopes, " "))
	}
	return strings.TrimSpace("Bearer " + strings.Join(params, ", "))
}

// quotableText removes the characters that a quoted-string cannot hold unescaped.
func quotableText(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return -1
		}
		return c
	}, text)
}

// ServeHTTP writes the refusal as the response.
func (r *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	if r.Challenge != "" {
		header.Set("WWW-Authenticate", r.Challenge)
	}
	if r.RetryAfter != "" {
		header.Set("Retry-After", r.RetryAfter)
	}
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(r)
}

// Error returns the reason, for logs.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// isCanceled reports whether a request ended before its token was checked.
func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

package jwks

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// The classes of errors. Every error of this package is one of them, to be tested
// with [errors.Is], or the error of a context.
var (
	// ErrArgument means that a configuration cannot work.
	ErrArgument = errors.New("jwks: wrong configuration")
	// ErrJWKS means that the key set cannot be fetched or parsed: the service, not
	// the token, is at fault. A *[FetchError] among its causes says where.
	ErrJWKS = errors.New("jwks: the key set is unavailable")
	// ErrRateLimited means that the key set was not fetched because of a rate limit.
	// A *[RateLimitError] says when to try again.
	ErrRateLimited = errors.New("jwks: too many requests to the JWKS endpoint")
	// ErrSigningKeyNotFound means that the set has no key of that kid, or several.
	ErrSigningKeyNotFound = errors.New("jwks: unable to find a signing key")
	// ErrToken means that the token is not acceptable; the errors below wrap it.
	ErrToken = errors.New("jwks: the token is not acceptable")
)

// Kinds of [ErrJWKS].
var (
	ErrNoKeys        = newKind(ErrJWKS, "jwks: the JWKS endpoint did not contain any keys")
	ErrNoSigningKeys = newKind(ErrJWKS, "jwks: the JWKS endpoint did not contain any signing keys")
	ErrClosed        = newKind(ErrJWKS, "jwks: the client is closed")
)

// Kinds of [ErrToken].
var (
	ErrMalformed   = newKind(ErrToken, "jwks: the token is malformed")
	ErrAlgorithm   = newKind(ErrToken, "jwks: the token's algorithm is not accepted")
	ErrSignature   = newKind(ErrToken, "jwks: the token's signature is wrong")
	ErrIssuer      = newKind(ErrToken, "jwks: the token's issuer is not accepted")
	ErrAudience    = newKind(ErrToken, "jwks: the token is for another audience")
	ErrExpired     = newKind(ErrToken, "jwks: the token has expired")
	ErrNotYetValid = newKind(ErrToken, "jwks: the token is not valid yet")
	// ErrIssuedBefore means that a token is older than its issuer's not_before. It is
	// an [ErrExpired].
	ErrIssuedBefore = newKind(ErrExpired, "jwks: the token was issued before its issuer's not_before")
	ErrType         = newKind(ErrToken, "jwks: the token's type is not accepted")
	ErrClaim        = newKind(ErrToken, "jwks: a required claim is missing or of a wrong form")
	// ErrScope means that a valid token lacks a required scope.
	ErrScope = newKind(ErrToken, "jwks: the token's scope is insufficient")
)

// kinded is a sentinel error that belongs to a class.
type kinded struct {
	class error
	text  string
}

func newKind(class error, text string) error { return &kinded{class, text} }

func (k *kinded) Error() string { return k.text }
func (k *kinded) Unwrap() error { return k.class }

// A FetchError describes a failed fetch. It is an [ErrJWKS].
type FetchError struct {
	URL    string        // without user and password
	Status int           // of HTTP; 0 if there was no answer
	Err    error         // what went wrong
	after  time.Duration // the answer's Retry-After, bounded
}

func (e *FetchError) Error() string { return fmt.Sprintf("jwks: fetch %s: %v", e.URL, e.Err) }

// Unwrap makes the error an [ErrJWKS] beside its cause.
func (e *FetchError) Unwrap() []error { return []error{ErrJWKS, e.Err} }

// A RateLimitError describes a fetch that was not made. It is an [ErrRateLimited].
type RateLimitError struct {
	RetryAfter time.Duration // until a fetch would be made
}

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("%v: try again in %s", ErrRateLimited, e.RetryAfter.Round(time.Millisecond))
}

func (e *RateLimitError) Unwrap() error { return ErrRateLimited }

// argumentError returns an [ErrArgument] with its reason.
func argumentError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrArgument, fmt.Errorf(format, args...))
}

// notFound returns an [ErrSigningKeyNotFound] that names the kid, cut to a length
// that does no harm in a log: kids come from strangers.
func notFound(kid string) error {
	const bearable = 64
	if len(kid) > bearable {
		kid = kid[:bearable] + "…"
	}
	return fmt.Errorf("%w that matches %q", ErrSigningKeyNotFound, kid)
}

// redactURL returns an address without user, password, query and fragment, any of
// which can hold a secret.
func redactURL(address string) string {
	if u, err := url.Parse(address); err == nil {
		u.RawQuery, u.Fragment, u.User = "", "", nil
		return u.String()
	}
	return "an address that is not one"
}

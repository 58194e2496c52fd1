package jwks

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// The classes of what can go wrong. Every error of this package is one of them,
// to be told with [errors.Is], or the error of a context.
var (
	// ErrArgument is a configuration that cannot work.
	ErrArgument = errors.New("jwks: wrong configuration")
	// ErrJWKS is a key set that cannot be had or read; the service, not the
	// token, is at fault. A *[FetchError] among its causes says where.
	ErrJWKS = errors.New("jwks: the key set cannot be had")
	// ErrRateLimited is a key set not fetched because too many fetches were
	// asked for. A *[RateLimitError] says when to try again.
	ErrRateLimited = errors.New("jwks: too many requests to the JWKS endpoint")
	// ErrSigningKeyNotFound is a kid that the set does not have, or not once.
	ErrSigningKeyNotFound = errors.New("jwks: unable to find a signing key")
	// ErrToken is a token that is not acceptable; all below wrap it.
	ErrToken = errors.New("jwks: the token is not acceptable")
)

// Kinds of [ErrJWKS].
var (
	ErrNoKeys        = kind(ErrJWKS, "jwks: the JWKS endpoint did not contain any keys")
	ErrNoSigningKeys = kind(ErrJWKS, "jwks: the JWKS endpoint did not contain any signing keys")
	ErrClosed        = kind(ErrJWKS, "jwks: the client is closed")
)

// Kinds of [ErrToken].
var (
	ErrMalformed   = kind(ErrToken, "jwks: the token is malformed")
	ErrAlgorithm   = kind(ErrToken, "jwks: the token's algorithm is not accepted")
	ErrSignature   = kind(ErrToken, "jwks: the token's signature is wrong")
	ErrIssuer      = kind(ErrToken, "jwks: the token's issuer is not accepted")
	ErrAudience    = kind(ErrToken, "jwks: the token is for another audience")
	ErrExpired     = kind(ErrToken, "jwks: the token has expired")
	ErrNotYetValid = kind(ErrToken, "jwks: the token is not valid yet")
	// ErrIssuedBefore is a token older than its issuer's not_before, an [ErrExpired].
	ErrIssuedBefore = kind(ErrExpired, "jwks: the token was issued before its issuer's not_before")
	ErrType         = kind(ErrToken, "jwks: the token's type is not accepted")
	ErrClaim        = kind(ErrToken, "jwks: a required claim is missing or of a wrong form")
	// ErrScope is a valid token that does not allow what is asked.
	ErrScope = kind(ErrToken, "jwks: the token's scope is insufficient")
)

// kinded is a sentinel that is also of a class.
type kinded struct {
	class error
	text  string
}

func kind(class error, text string) error { return &kinded{class, text} }

func (k *kinded) Error() string { return k.text }
func (k *kinded) Unwrap() error { return k.class }

// A FetchError is a failed fetch. It is an [ErrJWKS].
type FetchError struct {
	URL    string // without user and password
	Status int    // of HTTP; 0 if there was no answer
	Err    error  // what went wrong
	after  time.Duration
}

func (e *FetchError) Error() string { return fmt.Sprintf("jwks: fetch %s: %v", e.URL, e.Err) }

// Unwrap makes the error an [ErrJWKS] beside its cause.
func (e *FetchError) Unwrap() []error { return []error{ErrJWKS, e.Err} }

// A RateLimitError is a fetch that was not made. It is an [ErrRateLimited].
type RateLimitError struct {
	RetryAfter time.Duration // until a fetch would be made
}

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("%v: try again in %s", ErrRateLimited, e.RetryAfter.Round(time.Millisecond))
}

func (e *RateLimitError) Unwrap() error { return ErrRateLimited }

func argument(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrArgument, fmt.Errorf(format, args...))
}

// notFound names the kid of a stranger, as much of it as is bearable in a log.
func notFound(kid string) error {
	const bearable = 64
	if len(kid) > bearable {
		kid = kid[:bearable] + "…"
	}
	return fmt.Errorf("%w that matches %q", ErrSigningKeyNotFound, kid)
}

// redacted is an address without its password.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil {
		u.RawQuery, u.Fragment, u.User = "", "", nil
		return u.String()
	}
	return "an address that is not one"
}

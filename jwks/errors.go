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
	// ErrIssuedBefore is a token older than its issuer's not_before, an [ErrExpired].
	ErrIssuedBefore = newKind(ErrExpired, "jwks: the token was issued before its issuer's not_before")
	ErrType         = newKind(ErrToken, "jwks: the token's type is not accepted")
	ErrClaim        = newKind(ErrToken, "jwks: a required claim is missing or of a wrong form")
	// ErrScope is a valid token that does not allow what is asked.
	ErrScope = newKind(ErrToken, "jwks: the token's scope is insufficient")
)

// kinded is a sentinel that is also of a class.
type kinded struct {
	class error
	text  string
}

func newKind(class error, text string) error { return &kinded{class, text} }

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

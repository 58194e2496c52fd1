// Package jwks verifies tokens of any issuer that publishes a JSON Web Key Set,
// and keeps doing so while keys rotate, are revoked, or cannot be fetched.
//
// A [Client] has the keys of one issuer; an [Issuers] has the clients of many;
// a [Verifier] checks tokens with either:
//
//	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
//		Issuer:     "https://keys.example.com/t/acme", // keys are found by discovery
//		Audience:   []string{"orders"},
//		Algorithms: []jose.SignatureAlgorithm{jose.ES256},
//	})
//	…
//	token, err := verifier.Verify(ctx, raw)
//
// # What it guarantees
//
// A token is accepted only if its algorithm is in the verifier's list and is
// that of the key its kid names, if exactly one key answers to that kid, and if
// signature, issuer, audience, times, type and required claims all hold
// (RFC 8725 section 3). Nothing in a token leads to another key: jwk, jku, x5u
// and x5c are not read, and every crit is refused.
//
// The unit of caching is the set, not the key: a key that an issuer removes from
// its set is gone with the next fetched set, at the latest when the set's age is
// over. Sets that are in use are fetched again before that, in the background. Only
// one fetch is under way at a time, however many callers wait. Kids that are not in
// the set, and signatures that its keys do not verify, cause fetches too, but only
// within a budget of their own, so that a stranger's tokens neither hammer the
// issuer nor use up the fetches that others need. Tokens that are expired, or for
// another issuer or audience, cause none. Private and symmetric keys in a set are
// refused, and RSA keys that can be factored, that have fewer than 2048 bits, or more
// than 8192, which package crypto/tls refuses too.
//
// Ages and waits are measured by the wall clock and by the monotonic clock, and the
// longer counts: a clock that steps neither stops fetches nor keeps a removed key.
// While an expired set may still be used, callers wait at most half a second for an
// issuer that hangs. A callback that panics or ends its goroutine ends that fetch
// and nothing else.
//
// [Client.Subscribe] receives Keyward's events, for services that cannot wait for
// the next fetch: a revoked key verifies nothing from the moment its event arrives.
// A stream can only take keys away, never add one; without it the client works as
// above.
//
// An issuer that is a tenant of Keyward can revoke all tokens issued before some
// time, its not_before, which comes with its set. A verifier refuses such tokens
// with [ErrIssuedBefore], and tokens without iat too.
//
// Verifying with a warm cache takes no lock and starts no goroutine.
//
// # What it trusts
//
// The issuer's TLS certificate, as far as the http.Client does; the wall clock,
// within the configured skew, for the times in tokens; and that an issuer's set
// belongs to it. Answers are bounded in size, in keys, in redirects and in time.
//
// A client starts no goroutine until it fetches or subscribes, and leaves none
// behind. Nothing must be closed, though [Client.Close] cancels what is under way.
package jwks

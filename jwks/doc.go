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
// The unit of caching is the set, not the key: what an issuer takes out of its
// set is gone with the next fetched set, at the latest when the set's age is
// over. Sets are fetched again before that, in the background, when they are in
// use; however many callers wait, one fetch is under way. Kids that are not in
// the set cause fetches too, but only as many as a budget of their own allows,
// so that a stranger's random kids neither hammer the issuer nor use up what
// honest users need. Private and symmetric keys in a set are refused.
//
// Whoever cannot wait for a fetch listens to Keyward's events with
// [Client.Subscribe]: a revoked key verifies nothing from the moment its event
// is heard. A stream can only take keys away, never bring one; without it all
// goes on as above.
//
// An issuer that is a tenant of Keyward can refuse all tokens issued before some
// time, its not_before. Its set comes with that, and a verifier refuses them with
// [ErrIssuedBefore], as it does tokens without iat while there is one.
//
// Verifying with a warm cache takes no lock and starts no goroutine.
//
// # What it trusts
//
// The issuer's TLS certificate, as far as the http.Client does; the clock,
// within the configured skew; and that an issuer's set belongs to it. Answers
// are bounded in size, in keys, in redirects and in time.
//
// A client starts no goroutine until it fetches or is told to subscribe, and
// leaves none behind: there is nothing that must be closed, though [Client.Close] ends what is under way.
package jwks

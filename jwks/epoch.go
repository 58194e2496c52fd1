package jwks

import (
	"fmt"
	"time"
)

// epochHeader comes with a key set of Keyward's, with 304 answers too: the
// tenant's not_before as a NumericDate (RFC 7519 section 2). It says that the
// issuer wants no token with an earlier iat accepted, whatever key signed it.
const epochHeader = "Keyward-Not-Before"

// parseEpoch returns the time in an epochHeader; zero if it is missing or malformed.
func parseEpoch(value string) time.Time {
	at, ok := parseDate(value)
	if !ok {
		return time.Time{}
	}
	return at
}

// NotBefore returns the issuer's not_before as of the last fetched set: a
// [Verifier] refuses tokens issued before it. It is zero for an issuer without one.
// Callers of [Client.PublicKeyFor] and [Client.VerifySignature] must compare iat
// with it themselves, and a [Fetch] must pass it on with [ResponseHeader].
//
// It is only ever taken from the answer that brings the set itself, or with a [Pin]
// from the signed set, and so trusted as the keys are. Caches delay it as they delay keys; a subscriber's
// set is fetched again when the tenant changes.
func (c *Client) NotBefore() time.Time {
	var latest time.Time
	for _, s := range c.sources() {
		if s == nil {
			continue
		}
		if have := s.current.Load(); have != nil && have.notBefore.After(latest) {
			latest = have.notBefore
		}
	}
	return latest
}

// checkEpoch refuses tokens issued before the issuer's not_before, and tokens
// without iat while there is one: nothing proves that they are newer.
func (c *Client) checkEpoch(t *Token) error {
	since := c.NotBefore()
	switch {
	case since.IsZero() || !t.IssuedAt.Before(since):
		return nil
	case t.IssuedAt.IsZero():
		return fmt.Errorf("%w: it has no iat", ErrIssuedBefore)
	}
	return ErrIssuedBefore
}

package jwks

import (
	"fmt"
	"time"
)

// epochHeader comes with a key set of Keyward's, with 304 answers too: the
// tenant's not_before as a NumericDate (RFC 7519 section 2). It says that the
// issuer wants no token with an earlier iat accepted, whatever key signed it.
const epochHeader = "Keyward-Not-Before"

// parseEpoch is zero for an issuer that has no epoch, or one that cannot be
// read.
func parseEpoch(value string) time.Time {
	at, ok := numericDate(value)
	if !ok {
		return time.Time{}
	}
	return at
}

// NotBefore is the issuer's not_before as its set said when it was last fetched:
// a [Verifier] refuses tokens issued before it. It is zero for an issuer without
// one. Whoever verifies tokens otherwise, with [Client.PublicKeyFor] or
// [Client.VerifySignature], has to compare iat with it.
//
// It is only ever taken from the answer that brings the set itself, and so
// trusted as the keys are. Caches delay it as they delay keys; a subscriber's
// set is fetched again when the tenant changes.
func (c *Client) NotBefore() time.Time {
	if c.remote == nil {
		return time.Time{}
	}
	have := c.remote.current.Load()
	if have == nil {
		return time.Time{}
	}
	return have.notBefore
}

// checkEpoch refuses what was issued before the issuer's not_before, and what
// does not say when it was issued: nothing proves that it is newer.
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

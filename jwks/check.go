package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
)

const maxRequired = 64

var errPayload = fmt.Errorf("%w: the payload is not one JSON object", ErrMalformed)

// readClaims reads the claims of the payload. It returns the index of the first
// claim of required that is missing; -1 if none is.
func (t *Token) readClaims(required []string) (missing int, err error) {
	have, wrong := uint64(0), ""
	whole := eachMember(t.payload, func(name, value string) {
		if !t.setClaim(name, value) {
			wrong = name
		}
		for i, other := range required {
			if other == name && value != "null" {
				have |= 1 << i
			}
		}
	})
	switch {
	case !whole:
		return 0, errPayload
	case wrong != "":
		return 0, fmt.Errorf("%w: %s is not of its form", ErrClaim, wrong)
	}
	t.ClientID = cmp.Or(t.ClientID, t.azp)
	if missing = bits.TrailingZeros64(^have); missing >= len(required) {
		return -1, nil
	}
	return missing, nil
}

// checkClaims compares the claims with the configuration, except for scopes and
// the caller's own check. A token that fails is refused whatever its signature is.
func (v *Verifier) checkClaims(t *Token, now time.Time) error {
	c := &v.config
	if !c.AnyAudience && !slices.ContainsFunc(t.Audience, func(name string) bool { return slices.Contains(c.Audience, name) }) {
		return ErrAudience
	}
	if err := v.checkTimes(t, now); err != nil {
		return err
	}
	typ := plainType(t.Type)
	if !slices.ContainsFunc(c.Types, func(other string) bool { return strings.EqualFold(plainType(other), typ) }) {
		return ErrType
	}
	return nil
}

// isForeign reports whether a token that failed with that error says itself that
// it is not, or no longer, for this verifier. Such tokens are common, and cause no
// fetch. A token that lacks a claim is not among them.
func (t *Token) isForeign(err error) bool {
	switch {
	case errors.Is(err, ErrAudience):
		return len(t.Audience) > 0
	case errors.Is(err, ErrIssuedBefore):
		return !t.IssuedAt.IsZero()
	}
	return errors.Is(err, ErrExpired) || errors.Is(err, ErrNotYetValid) || errors.Is(err, ErrType)
}

// checkVerified checks a token whose signature is right.
func (v *Verifier) checkVerified(ctx context.Context, client *Client, t *Token, now time.Time) error {
	if err := client.checkEpoch(t); err != nil {
		return err
	}
	if err := v.checkClaims(t, now); err != nil {
		return err
	}
	if !t.HasScopes(v.config.Scopes...) {
		return ErrScope
	}
	return v.callValidate(ctx, t)
}

// callValidate calls the caller's own check.
func (v *Verifier) callValidate(ctx context.Context, t *Token) error {
	if v.config.Validate == nil {
		return nil
	}
	err := v.config.Validate(ctx, t)
	if err != nil && !errors.Is(err, ErrToken) {
		return fmt.Errorf("%w: %w", ErrToken, err)
	}
	return err
}

// checkTimes compares exp, nbf and iat with the clock (RFC 7519 sections 4.1.4
// to 4.1.6). At the second of exp a token has expired.
func (v *Verifier) checkTimes(t *Token, now time.Time) error {
	c := &v.config
	switch {
	case t.Expiry.IsZero() && !c.NoExpiry:
		return fmt.Errorf("%w: exp", ErrClaim)
	case !t.Expiry.IsZero() && !now.Before(t.Expiry.Add(c.Skew)):
		return ErrExpired
	case now.Add(c.Skew).Before(t.NotBefore):
		return ErrNotYetValid
	case t.IssuedAt.IsZero() && (c.MaxTokenAge > 0 || !c.IssuedSince.IsZero()):
		return fmt.Errorf("%w: iat", ErrClaim)
	case c.MaxTokenAge > 0 && now.Sub(t.IssuedAt) > c.MaxTokenAge+c.Skew:
		return fmt.Errorf("%w: it is older than %s", ErrExpired, c.MaxTokenAge)
	case c.MaxTokenAge > 0 && now.Add(c.Skew).Before(t.IssuedAt):
		return fmt.Errorf("%w: it was issued later than now", ErrNotYetValid)
	case t.IssuedAt.Before(c.IssuedSince):
		return fmt.Errorf("%w: it was issued too long ago", ErrExpired)
	}
	return nil
}

// VerifySignature returns the payload of a compact JWS if its signature is right.
// Nothing else is checked, not even that it is a token; see [Client.NotBefore]. The
// algorithm must be the key's own; a key without one takes those of its type. The
// method makes a client a KeySet of github.com/coreos/go-oidc.
func (c *Client) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	jws, ok := parseCompact(raw)
	if !ok {
		return nil, ErrMalformed
	}
	alg := algorithmByName(jws.alg)
	if alg == nil {
		return nil, fmt.Errorf("%w: %.20q", ErrAlgorithm, jws.alg)
	}
	if err := c.verifyCompact(ctx, &jws, alg); err != nil {
		return nil, err
	}
	return []byte(jws.payload), nil
}

// verifyCompact checks the signature with the key that the kid names.
func (c *Client) verifyCompact(ctx context.Context, jws *compact, alg *algorithm) error {
	key, err := c.findKey(ctx, jws.kid, alg)
	if err != nil {
		return err
	}
	if key.verify(alg, []byte(jws.input), jws.signature) {
		return nil
	}
	other := c.replacedKey(ctx, jws.kid, alg, key)
	if other == nil || !other.verify(alg, []byte(jws.input), jws.signature) {
		return ErrSignature
	}
	return nil
}

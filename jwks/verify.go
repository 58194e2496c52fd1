package jwks

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Verify checks a token in the compact form. Errors about the token wrap
// [ErrToken]; others say that its key could not be had: [ErrSigningKeyNotFound],
// [ErrJWKS], [ErrRateLimited], or the cause of ctx. A kid that could not be looked
// for again for a rate limit is an ErrSigningKeyNotFound and an ErrRateLimited:
// ask for the first one first.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	if len(raw) > v.config.MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, v.config.MaxSize)
	}
	jws, ok := parseCompact(raw)
	if !ok {
		return nil, ErrMalformed
	}
	alg := v.acceptedAlgorithm(jws.alg)
	if alg == nil {
		return nil, fmt.Errorf("%w: %.20q", ErrAlgorithm, jws.alg)
	}
	token := &Token{Algorithm: alg.name, KeyID: jws.kid, Type: jws.typ, payload: jws.payload}
	missing, err := token.readClaims(v.config.Required)
	if err != nil {
		return nil, err
	}
	client, err := v.clientFor(ctx, token.Issuer)
	if err != nil {
		return nil, err
	}
	now := v.config.Now()
	if err := v.checkForeign(client, &jws, alg, token, now); err != nil {
		return nil, err
	}
	if err := client.verifyCompact(ctx, &jws, alg); err != nil {
		return nil, err
	}
	if missing >= 0 {
		return nil, fmt.Errorf("%w: %s", ErrClaim, v.config.Required[missing])
	}
	if err := v.checkVerified(ctx, client, token, now); err != nil {
		return nil, err
	}
	return token, nil
}

// checkForeign refuses a token that is expired or for another audience, without a
// fetch for its key. If the key is at hand, a wrong signature is the first fault.
func (v *Verifier) checkForeign(client *Client, jws *compact, alg *algorithm, token *Token, now time.Time) error {
	fault := client.checkEpoch(token)
	if fault == nil {
		fault = v.checkClaims(token, now)
	}
	if fault == nil || !token.isForeign(fault) {
		return nil
	}
	if key := client.knownKey(jws.kid, alg); key != nil && !key.verify(alg, []byte(jws.input), jws.signature) {
		return ErrSignature
	}
	return fault
}

// acceptedAlgorithm returns the algorithm of that name if it is configured, or nil.
func (v *Verifier) acceptedAlgorithm(name string) *algorithm {
	for _, a := range v.accept {
		if string(a.name) == name {
			return a
		}
	}
	return nil
}

// clientFor returns the client that has the keys of an issuer, if that is accepted
// at all (RFC 8725 section 3.8).
func (v *Verifier) clientFor(ctx context.Context, issuer string) (*Client, error) {
	switch {
	case v.config.Issuers != nil:
		return v.config.Issuers.Client(ctx, issuer)
	case v.config.AnyIssuer || issuer == v.config.Issuer:
		return v.config.Client, nil
	}
	return nil, unknownIssuer(issuer)
}

// VerifyAs verifies a token and decodes its claims into a type of the caller's.
func VerifyAs[T any](ctx context.Context, v *Verifier, raw string) (claims T, token *Token, err error) {
	if token, err = v.Verify(ctx, raw); err != nil {
		return claims, nil, err
	}
	err = token.Decode(&claims)
	return claims, token, err
}

// plainType returns a typ without the prefix that does not matter in it.
func plainType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

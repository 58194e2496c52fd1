package jwks

import (
	"context"
	"fmt"
	"strings"
)

// Verify checks a token in the compact form. Errors about the token wrap
// [ErrToken]; others say that its key could not be had: [ErrSigningKeyNotFound],
// [ErrJWKS], [ErrRateLimited], or what ended ctx.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	if len(raw) > v.config.MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, v.config.MaxSize)
	}
	jws, ok := parseCompact(raw)
	if !ok {
		return nil, ErrMalformed
	}
	alg := v.accepted(jws.alg)
	if alg == nil {
		return nil, fmt.Errorf("%w: %.20q", ErrAlgorithm, jws.alg)
	}
	token := &Token{Algorithm: alg.name, KeyID: jws.kid, Type: jws.typ, payload: jws.payload}
	missing, err := token.read(v.config.Required)
	if err != nil {
		return nil, err
	}
	now := v.config.Now()
	client, err := v.clientOf(ctx, token.Issuer)
	if err != nil {
		return nil, err
	}
	key, err := client.find(ctx, now, jws.kid, alg)
	if err != nil {
		return nil, err
	}
	if !key.verify(alg, []byte(jws.input), jws.signature) {
		return nil, ErrSignature
	}
	if missing >= 0 {
		return nil, fmt.Errorf("%w: %s", ErrClaim, v.config.Required[missing])
	}
	if err := client.checkEpoch(token); err != nil {
		return nil, err
	}
	if err := v.check(ctx, token, now); err != nil {
		return nil, err
	}
	return token, nil
}

func (v *Verifier) accepted(name string) *algorithm {
	for _, a := range v.accept {
		if string(a.name) == name {
			return a
		}
	}
	return nil
}

// clientOf is the client that has the keys of an issuer, if that is accepted at
// all (RFC 8725 section 3.8).
func (v *Verifier) clientOf(ctx context.Context, issuer string) (*Client, error) {
	switch {
	case v.config.Issuers != nil:
		return v.config.Issuers.Client(ctx, issuer)
	case v.config.AnyIssuer || issuer == v.config.Issuer:
		return v.config.Client, nil
	}
	return nil, noClientFor(issuer)
}

// VerifyAs verifies a token and gives its claims as a type of the caller's.
func VerifyAs[T any](ctx context.Context, v *Verifier, raw string) (claims T, token *Token, err error) {
	if token, err = v.Verify(ctx, raw); err != nil {
		return claims, nil, err
	}
	err = token.Decode(&claims)
	return claims, token, err
}

// plainType is a typ without what does not matter in it.
func plainType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

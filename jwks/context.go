package jwks

import (
	"context"
	"net/http"
)

type contextKey struct{}

// NewContext returns a context that carries a verified token, for middleware.
func NewContext(ctx context.Context, token *Token) context.Context {
	return context.WithValue(ctx, contextKey{}, token)
}

// FromContext returns the token that middleware has verified; false if there is none.
func FromContext(ctx context.Context) (*Token, bool) {
	token, ok := ctx.Value(contextKey{}).(*Token)
	return token, ok && token != nil
}

type headerKey struct{}

// ResponseHeader returns the header that a [Fetch] can fill with the fields of the
// answer it got, so that the issuer's Cache-Control and Keyward-Not-Before count:
//
//	maps.Copy(jwks.ResponseHeader(ctx), response.Header)
//
// Outside of a Fetch it returns a header that nobody reads.
func ResponseHeader(ctx context.Context) http.Header {
	if header, ok := ctx.Value(headerKey{}).(http.Header); ok {
		return header
	}
	return http.Header{}
}

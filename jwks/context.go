package jwks

import "context"

type contextKey struct{}

// NewContext gives a context that carries a verified token. Middleware does.
func NewContext(ctx context.Context, token *Token) context.Context {
	return context.WithValue(ctx, contextKey{}, token)
}

// FromContext is the token that middleware has verified; false if there is none.
func FromContext(ctx context.Context) (*Token, bool) {
	token, ok := ctx.Value(contextKey{}).(*Token)
	return token, ok && token != nil
}

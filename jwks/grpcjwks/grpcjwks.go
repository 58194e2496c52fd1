// Package grpcjwks lets only calls with a good bearer token through to servers
// of gRPC, unary and streaming. It is a module of its own, so that nobody else
// inherits gRPC.
//
// Refused calls get the codes UNAUTHENTICATED without a good token,
// PERMISSION_DENIED without enough scope, RESOURCE_EXHAUSTED and UNAVAILABLE if
// the issuer's keys are unavailable.
package grpcjwks

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
)

// Config is how a [Guard] behaves; its zero value wants a good token for every
// call.
type Config struct {
	// Scopes are those that a method wants, given its full name
	// ("/orders.v1.Orders/List"); nil is none.
	Scopes func(method string) []string
	// Public says which methods need no token, such as health checks; their
	// tokens are not looked at. Nil is none of them.
	Public func(method string) bool
	// OnRefusal sees each refusal and why, to count or log it.
	OnRefusal func(ctx context.Context, method string, err error)
}

// A Guard stands before servers. It is safe for concurrent use.
type Guard struct {
	verifier *jwks.Verifier
	config   Config
}

// New makes a guard that asks verifier.
func New(verifier *jwks.Verifier, config Config) *Guard {
	if config.Scopes == nil {
		config.Scopes = func(string) []string { return nil }
	}
	if config.Public == nil {
		config.Public = func(string) bool { return false }
	}
	if config.OnRefusal == nil {
		config.OnRefusal = func(context.Context, string, error) {}
	}
	return &Guard{verifier, config}
}

// Unary is for [grpc.ChainUnaryInterceptor]. The server finds the token with
// [jwks.FromContext].
func (g *Guard) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := g.check(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, request)
}

// Stream is for [grpc.ChainStreamInterceptor]. A stream's token is checked when
// it begins.
func (g *Guard) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := g.check(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(server, withContext{stream, ctx})
}

// withContext is a stream with a token in its context.
type withContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s withContext) Context() context.Context { return s.ctx }

func (g *Guard) check(ctx context.Context, method string) (context.Context, error) {
	if g.config.Public(method) {
		return ctx, nil
	}
	token, err := g.verify(ctx, g.config.Scopes(method))
	if err != nil {
		g.config.OnRefusal(ctx, method, err)
		return nil, statusOf(err)
	}
	return jwks.NewContext(ctx, token), nil
}

func (g *Guard) verify(ctx context.Context, scopes []string) (*jwks.Token, error) {
	fields := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(fields) > 1 {
		return nil, jwkshttp.ErrRequest
	}
	raw := ""
	if len(fields) == 1 {
		var err error
		if raw, err = jwkshttp.ParseBearer(fields[0]); err != nil {
			return nil, err
		}
	}
	if raw == "" {
		return nil, jwkshttp.ErrNoToken
	}
	token, err := g.verifier.Verify(ctx, raw)
	if err == nil && !token.HasScopes(scopes...) {
		err = jwks.ErrScope
	}
	return token, err
}

// refuse says no more than [jwkshttp.Refuse] does over HTTP.
func statusOf(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, jwks.ErrScope):
		code = codes.PermissionDenied
	case errors.Is(err, jwks.ErrToken), errors.Is(err, jwks.ErrSigningKeyNotFound), errors.Is(err, jwkshttp.ErrNoToken), errors.Is(err, jwkshttp.ErrRequest):
		code = codes.Unauthenticated
	case errors.Is(err, jwks.ErrRateLimited):
		code = codes.ResourceExhausted
	case errors.Is(err, jwks.ErrJWKS):
		code = codes.Unavailable
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, jwkshttp.Refuse(err, "").Code)
}

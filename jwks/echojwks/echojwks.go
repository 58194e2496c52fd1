// Package echojwks lets only requests with a good bearer token through to
// handlers of Echo. It is package jwkshttp for a router of its own, and a module
// of its own, so that nobody else inherits Echo.
package echojwks

import (
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
)

// ContextKey is where the token is in an [echo.Context]; it is in the context of
// the request too.
const ContextKey = "jwks.token"

// Require is middleware that wants a good token with all of these scopes.
// Refusals are written as the guard's configuration says, and not returned as
// errors, so that Echo's error handler cannot tell more than it should.
func Require(guard *jwkshttp.Guard, scopes ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			token, refusal := guard.Check(c.Request(), scopes...)
			if refusal != nil {
				guard.Write(c.Response(), c.Request(), refusal)
				return nil
			}
			if token != nil {
				c.Set(ContextKey, token)
				c.SetRequest(c.Request().WithContext(jwks.NewContext(c.Request().Context(), token)))
			}
			return next(c)
		}
	}
}

// Token is the token that the middleware has verified; false if there is none.
func Token(c echo.Context) (*jwks.Token, bool) {
	token, ok := c.Get(ContextKey).(*jwks.Token)
	return token, ok
}

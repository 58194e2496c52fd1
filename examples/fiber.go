package examples

import (
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
)

// Fiber is a service with Fiber. That is not of net/http at all, so the verifier
// is asked, and only the words of a refusal are the guard's.
func Fiber(verifier *jwks.Verifier) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(cors.New(cors.Config{ // before the guard
		AllowOrigins: "https://app.example.com", AllowHeaders: "Authorization,Content-Type", ExposeHeaders: "WWW-Authenticate,Retry-After",
	}))
	app.Get("/healthz", func(*fiber.Ctx) error { return nil })
	app.Get("/me", requireFiber(verifier), func(c *fiber.Ctx) error {
		token, _ := jwks.FromContext(c.UserContext())
		return c.SendString(token.Subject)
	})
	app.Post("/orders", requireFiber(verifier, "orders:write"), func(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusCreated) })
	return app
}

// requireFiber wants a good token with these scopes.
func requireFiber(verifier *jwks.Verifier, scopes ...string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		token, err := verifyFiber(c, verifier, scopes)
		if err != nil {
			refusal := jwkshttp.Refuse(err, "orders", scopes...)
			for name, value := range map[string]string{"WWW-Authenticate": refusal.Challenge, "Retry-After": refusal.RetryAfter} {
				if value != "" {
					c.Set(name, value)
				}
			}
			c.Set("Cache-Control", "no-store")
			return c.Status(refusal.Status).JSON(refusal, "application/problem+json")
		}
		c.SetUserContext(jwks.NewContext(c.UserContext(), token))
		return c.Next()
	}
}

func verifyFiber(c *fiber.Ctx, verifier *jwks.Verifier, scopes []string) (*jwks.Token, error) {
	// Fiber uses the memory of its strings again; the token must not.
	raw, err := jwkshttp.ParseBearer(string(c.Request().Header.Peek("Authorization")))
	if err != nil {
		return nil, err
	}
	if raw == "" {
		return nil, jwkshttp.ErrNoToken
	}
	token, err := verifier.Verify(c.UserContext(), raw)
	if err == nil && !token.HasScopes(scopes...) {
		err = jwks.ErrScope
	}
	return token, err
}

package examples

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
)

// Gin is a service with Gin, whose middleware is of another form than that of
// net/http but has its request and answer.
func Gin(verifier *jwks.Verifier) http.Handler {
	guard := jwkshttp.New(verifier, jwkshttp.Config{Realm: "orders"})
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.GET("/healthz", func(*gin.Context) {})
	r.GET("/me", requireGin(guard), func(c *gin.Context) {
		token, _ := jwks.FromContext(c.Request.Context())
		c.String(http.StatusOK, token.Subject)
	})
	r.POST("/orders", requireGin(guard, "orders:write"), func(c *gin.Context) { c.Status(http.StatusCreated) })
	return allowOrigin("https://app.example.com")(r) // before the guard; gin-contrib/cors does the same by r.Use
}

// requireGin wants a good token with these scopes.
func requireGin(guard *jwkshttp.Guard, scopes ...string) gin.HandlerFunc {
	return func(c *gin.Context) {
		token, refusal := guard.Check(c.Request, scopes...)
		if refusal != nil {
			guard.Write(c.Writer, c.Request, refusal)
			c.Abort()
			return
		}
		c.Request = c.Request.WithContext(jwks.NewContext(c.Request.Context(), token))
		c.Next()
	}
}

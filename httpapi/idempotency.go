package httpapi

import (
	"crypto/sha256"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// decodeOnce decodes a body and, where the client sent an Idempotency-Key, says
// what makes the request the same as another: the credential, the operation,
// the tenant and the body, byte for byte.
func decodeOnce(c echo.Context, key *IdempotencyKey, v any) (*tenant.Idempotency, error) {
	body, err := readBody(c.Request())
	if err != nil {
		return nil, err
	}
	if err := decodeStrict(body, v); err != nil || key == nil {
		return nil, err
	}
	return &tenant.Idempotency{CredentialID: of(c).Actor.ID, Key: *key, RequestHash: requestHash(c, body)}, nil
}

func requestHash(c echo.Context, body []byte) []byte {
	tenantID := of(c).tenantID // zeros where the path has none
	h := sha256.New()
	h.Write([]byte("keyward request v1\x00" + c.Request().Method + " " + c.Path() + "\x00"))
	h.Write(tenantID[:])
	h.Write(body)
	return h.Sum(nil)
}

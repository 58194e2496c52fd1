package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// KeyMaterial is PEM in a string, or a JWK or JWK Set as an object or in a
// string. It may be secret: it is not printed, and cleared after use.
type KeyMaterial = json.RawMessage

// ImportKey brings in an existing key, or public keys of a system left behind.
func (s *server) ImportKey(c echo.Context, _ TenantPath, params ImportKeyParams) error {
	var body ImportKeyRequest
	idem, err := decodeOnce(c, params.IdempotencyKey, &body)
	if err != nil {
		return err
	}
	defer clear(or(body.PrivateKey, nil))
	if problem := body.contradiction(); problem != nil {
		return problem
	}
	agreed, refused := s.agreed(c, params.KeywardApproval)
	if idem != nil && spent(refused) { // maybe by this request, whose answer was lost
		idem.RepeatOnly = true
	} else if !agreed {
		return refused
	}
	if err = s.bringIn(c, body, idem); errors.Is(err, tenant.ErrNotRepeated) {
		return refused
	}
	return err
}

// spent reports whether an approval is refused because it was used before.
func spent(err error) bool {
	var is *tenant.ApprovalStatusError
	return errors.As(err, &is) && is.Status == tenant.Used
}

func (s *server) bringIn(c echo.Context, body ImportKeyRequest, idem *tenant.Idempotency) error {
	if body.PrivateKey != nil {
		return s.importPrivateKey(c, body, idem)
	}
	return s.importPublicKeys(c, body, idem)
}

// contradiction finds members that do not belong together.
func (r ImportKeyRequest) contradiction() *Problem {
	private := r.PrivateKey != nil
	switch {
	case private && r.PublicKey != nil:
		return invalid("public_key", "must be absent beside private_key, from which it is derived")
	case !private && r.PublicKey == nil:
		return invalid("private_key", "is required, or public_key with expires_at")
	case private && r.Alg == nil:
		return invalid("alg", "is required with private_key")
	case private && r.ExpiresAt != nil:
		return invalid("expires_at", "must be absent with private_key: the schedule of the policy decides")
	case !private && r.Role != nil:
		return invalid("role", "must be absent with public_key: such a key signs nothing")
	case !private && r.ExpiresAt == nil:
		return invalid("expires_at", "is required with public_key")
	}
	return nil
}

func (s *server) importPrivateKey(c echo.Context, body ImportKeyRequest, idem *tenant.Idempotency) error {
	key := plain(*body.PrivateKey)
	defer clear(key)
	e, err := s.cfg.Store.ImportPrivate(c.Request().Context(), by(c), of(c).tenantID, moves.PrivateImport{
		Key: key, Alg: jose.SignatureAlgorithm(*body.Alg), KID: or(body.KID, ""), Active: or(body.Role, "") == ImportKeyRequestRoleActive,
	}, idem)
	if err != nil {
		return err
	}
	return imported(c, e)
}

func (s *server) importPublicKeys(c echo.Context, body ImportKeyRequest, idem *tenant.Idempotency) error {
	entries, set, err := s.cfg.Store.ImportPublic(c.Request().Context(), by(c), of(c).tenantID, moves.PublicImport{
		Key: plain(*body.PublicKey), Alg: jose.SignatureAlgorithm(or(body.Alg, "")), KID: or(body.KID, ""),
		ExpiresAt: or(body.ExpiresAt, time.Time{}),
	}, idem)
	if err != nil {
		return err
	}
	if set {
		return reply(c, http.StatusCreated, KeyList{Items: renderKeys(entries)})
	}
	return imported(c, entries[0])
}

func imported(c echo.Context, e moves.Entry) error {
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+of(c).slug+"/keys/"+e.KID)
	return reply(c, http.StatusCreated, renderKey(e))
}

// plain is the text of a string, or the object as it came.
func plain(m KeyMaterial) []byte {
	var text string
	if json.Unmarshal(m, &text) == nil {
		return []byte(text)
	}
	return m
}

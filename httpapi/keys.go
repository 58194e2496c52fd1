package httpapi

import (
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
)

// Media types of a public key.
const (
	mimePEM = "application/x-pem-file"
	mimeJWK = "application/jwk+json" // RFC 7517 section 8.5.1
	mimeDER = "application/octet-stream"
)

// ListKeys lists a tenant's keys.
func (s *server) ListKeys(c echo.Context, _ TenantPath, params ListKeysParams) error {
	page, err := s.cfg.Store.List(c.Request().Context(), of(c).tenantID, moves.Filter{
		State: keys.State(or(params.State, "")), Alg: jose.SignatureAlgorithm(or(params.Alg, "")),
		ValidAt: or(params.ValidAt, time.Time{}), Limit: or(params.Limit, 50), Cursor: or(params.Cursor, ""),
	})
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, KeyList{Items: renderKeys(page.Items), NextCursor: given(page.Next)})
}

// GetKey reads a key, in the form that the client likes best.
func (s *server) GetKey(c echo.Context, _ TenantPath, kid KIDPath) error {
	c.Response().Header()["Vary"] = varyAccept
	form := negotiate(c.Request().Header["Accept"], echo.MIMEApplicationJSON, mimeJWK, mimePEM, mimeDER)
	if form == "" {
		return newProblem(ProblemCodeNotAcceptable, "")
	}
	e, err := s.cfg.Store.Find(c.Request().Context(), of(c).tenantID, kid)
	if err != nil {
		return err
	}
	if form == echo.MIMEApplicationJSON {
		return reply(c, http.StatusOK, renderKey(e))
	}
	if e.PublicJWK == nil {
		return newProblem(ProblemCodeKeyNotFound, "The public key was purged.")
	}
	return publicKey(c, form, e.Key)
}

func publicKey(c echo.Context, form string, k keys.Key) error {
	if form == mimeJWK {
		return c.Blob(http.StatusOK, mimeJWK, k.PublicJWK)
	}
	public, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
	if err != nil {
		return err
	}
	if form == mimeDER {
		der, err := keys.PublicDER(public)
		if err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+k.KID+`.der"`)
		return c.Blob(http.StatusOK, mimeDER, der)
	}
	pem, err := keys.PublicPEM(public)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, mimePEM, pem)
}

// PurgeKeys forgets the public part of keys that have left the JWKS.
func (s *server) PurgeKeys(c echo.Context, _ TenantPath, params PurgeKeysParams) error {
	if agreed, err := s.agreed(c, params.KeywardApproval); !agreed {
		return err
	}
	purged, err := s.cfg.Store.Purge(c.Request().Context(), by(c), of(c).tenantID)
	if err != nil {
		return err
	}
	out := PurgeResult{Purged: make([]string, len(purged))}
	for i, k := range purged {
		out.Purged[i] = k.KID
	}
	return reply(c, http.StatusOK, out)
}

// RotateDataKey seals a tenant's private keys under a new data key.
func (s *server) RotateDataKey(c echo.Context, _ TenantPath) error {
	done, err := s.cfg.Store.RotateDataKey(c.Request().Context(), by(c), of(c).tenantID)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, DataKey{Version: int(done.Version), Resealed: done.Resealed, CreatedAt: done.CreatedAt})
}

package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// GetDestructionCertificate certifies what the deletion of a tenant destroyed.
func (s *server) GetDestructionCertificate(c echo.Context, id uuid.UUID) error {
	certificate, err := s.certify(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, certificate)
}

func (s *server) certify(ctx context.Context, id uuid.UUID) (DestructionCertificate, error) {
	d, err := s.cfg.Signer.Destruction(ctx, id)
	if err != nil {
		return DestructionCertificate{}, err
	}
	signed, err := s.cfg.Signer.CertifyDestruction(ctx, d)
	return DestructionCertificate{Certificate: signed.JWS}, err
}

// deleted answers a deletion with its certificate. The tenant is gone by then:
// without a certificate, the answer is the one that was not asked for.
func (s *server) deleted(c echo.Context, id uuid.UUID) error {
	certificate, err := s.certify(c.Request().Context(), id)
	if err != nil {
		s.cfg.Log.WarnContext(c.Request().Context(), "deletion not certified yet", "tenant_id", id, "error", err)
		return c.NoContent(http.StatusNoContent)
	}
	c.Response().Header().Set("Preference-Applied", "return=representation")
	return reply(c, http.StatusOK, certificate)
}

// prefersRepresentation reads RFC 7240 section 4.2. Of several preferences of
// one name the first counts (section 2); parameters are ignored.
func prefersRepresentation(lines []string) bool {
	for _, preference := range strings.Split(strings.Join(lines, ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if strings.EqualFold(strings.TrimSpace(name), "return") {
			return strings.Trim(strings.TrimSpace(value), `"`) == "representation"
		}
	}
	return false
}

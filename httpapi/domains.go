package httpapi

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// AddDomain claims a host for a tenant.
func (s *adminServer) AddDomain(c echo.Context, _ TenantPath) error {
	var body AddDomainRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	d, added, err := s.cfg.Tenants.AddDomain(c.Request().Context(), auditBy(c), callOf(c).tenantID, body.Domain)
	if err != nil {
		return err
	}
	if !added {
		return replyJSON(c, http.StatusOK, renderDomain(d))
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+callOf(c).slug+"/domains/"+url.PathEscape(d.Domain))
	return replyJSON(c, http.StatusCreated, renderDomain(d))
}

// ListDomains lists a tenant's claimed and verified hosts.
func (s *adminServer) ListDomains(c echo.Context, _ TenantPath, p ListDomainsParams) error {
	list, next, err := s.cfg.Tenants.Domains(c.Request().Context(), callOf(c).tenantID, valueOr(p.Limit, 0), valueOr(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := DomainList{Items: make([]Domain, len(list)), NextCursor: nonZero(next)}
	for i, d := range list {
		out.Items[i] = renderDomain(d)
	}
	return replyJSON(c, http.StatusOK, out)
}

// VerifyDomain looks for the TXT record of a claimed host.
func (s *adminServer) VerifyDomain(c echo.Context, _ TenantPath, domain DomainPath) error {
	d, err := s.cfg.Tenants.VerifyDomain(c.Request().Context(), auditBy(c), callOf(c).tenantID, domain)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderDomain(d))
}

// RemoveDomain removes a host of a tenant.
func (s *adminServer) RemoveDomain(c echo.Context, _ TenantPath, domain DomainPath) error {
	if err := s.cfg.Tenants.RemoveDomain(c.Request().Context(), auditBy(c), callOf(c).tenantID, domain); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func renderDomain(d tenant.Domain) Domain {
	return Domain{Domain: d.Domain, TxtName: d.TXTName, TxtValue: d.TXTValue, CreatedAt: d.CreatedAt, VerifiedAt: d.VerifiedAt}
}

package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// CreateWorkloadIdentity lets workloads of another issuer sign in to a tenant.
func (s *adminServer) CreateWorkloadIdentity(c echo.Context, _ TenantPath) error {
	var body CreateWorkloadIdentityRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if s.cfg.SignIn != nil && body.Issuer == s.cfg.SignIn.Issuer() {
		return invalidField("issuer", "must not be the identity provider that signs people in to this service")
	}
	n := tenant.NewWorkloadIdentity{
		TenantID: callOf(c).tenantID, Name: body.Name, Issuer: body.Issuer, Audience: body.Audience, JWKSURI: valueOr(body.JWKSURI, ""), Role: tenant.Role(body.Role),
		MaxTokenLifetime: time.Duration(valueOr(body.MaxTokenLifetimeSeconds, 0)) * time.Second, ExpiresAt: body.ExpiresAt,
	}
	for _, r := range body.Rules {
		n.Rules = append(n.Rules, tenant.ClaimRule{Claim: r.Claim, Equals: valueOr(r.Equals, ""), Prefix: valueOr(r.Prefix, ""), OneOf: r.OneOf})
	}
	w, err := s.cfg.Tenants.CreateWorkloadIdentity(c.Request().Context(), auditBy(c), n)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+callOf(c).slug+"/workload-identities/"+w.ID.String())
	return replyJSON(c, http.StatusCreated, renderWorkloadIdentity(w))
}

// ListWorkloadIdentities lists a tenant's workload identities.
func (s *adminServer) ListWorkloadIdentities(c echo.Context, _ TenantPath, p ListWorkloadIdentitiesParams) error {
	list, next, err := s.cfg.Tenants.ListWorkloadIdentities(c.Request().Context(), callOf(c).tenantID, valueOr(p.Limit, 0), valueOr(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := WorkloadIdentityList{Items: make([]WorkloadIdentity, len(list)), NextCursor: nonZero(next)}
	for i, w := range list {
		out.Items[i] = renderWorkloadIdentity(w)
	}
	return replyJSON(c, http.StatusOK, out)
}

// GetWorkloadIdentity reads a workload identity.
func (s *adminServer) GetWorkloadIdentity(c echo.Context, _ TenantPath, id WorkloadIdentityPath) error {
	w, err := s.cfg.Tenants.WorkloadIdentity(c.Request().Context(), callOf(c).tenantID, id)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderWorkloadIdentity(w))
}

// DeleteWorkloadIdentity ends a workload identity.
func (s *adminServer) DeleteWorkloadIdentity(c echo.Context, _ TenantPath, id WorkloadIdentityPath) error {
	if err := s.cfg.Tenants.DeleteWorkloadIdentity(c.Request().Context(), auditBy(c), callOf(c).tenantID, id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func renderWorkloadIdentity(w tenant.WorkloadIdentity) WorkloadIdentity {
	out := WorkloadIdentity{
		ID: w.ID, Name: w.Name, Issuer: w.Issuer, Audience: w.Audience, JWKSURI: nonZero(w.JWKSURI), Rules: make([]ClaimRule, len(w.Rules)), Role: Role(w.Role),
		MaxTokenLifetimeSeconds: int(w.MaxTokenLifetime / time.Second), CreatedAt: w.CreatedAt, ExpiresAt: w.ExpiresAt, LastUsedAt: w.LastUsedAt, CreatedBy: renderActor(w.CreatedBy),
	}
	for i, r := range w.Rules {
		out.Rules[i] = ClaimRule{Claim: r.Claim, Equals: nonZero(r.Equals), Prefix: nonZero(r.Prefix), OneOf: r.OneOf}
	}
	return out
}

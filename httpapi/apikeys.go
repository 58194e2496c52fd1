package httpapi

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// CreateTenantAPIKey creates an API key of a tenant.
func (s *adminServer) CreateTenantAPIKey(c echo.Context, _ TenantPath) error {
	var body CreateTenantAPIKeyRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	return s.createAPIKey(c, "/v1/tenants/"+callOf(c).slug+"/api-keys/", tenant.NewAPIKey{
		TenantID: &callOf(c).tenantID, Role: tenant.Role(body.Role), Name: valueOr(body.Name, ""), ExpiresAt: body.ExpiresAt,
	})
}

// CreatePlatformAPIKey creates an API key of the platform.
func (s *adminServer) CreatePlatformAPIKey(c echo.Context) error {
	var body CreatePlatformAPIKeyRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	return s.createAPIKey(c, "/v1/api-keys/", tenant.NewAPIKey{
		Role: tenant.Role(body.Role), Name: valueOr(body.Name, ""), ExpiresAt: body.ExpiresAt,
	})
}

// createAPIKey answers with the secret, which is shown in this answer only.
func (s *adminServer) createAPIKey(c echo.Context, location string, n tenant.NewAPIKey) error {
	k, key, err := s.cfg.Tenants.CreateAPIKey(c.Request().Context(), auditBy(c), n)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, location+k.ID.String())
	return replyJSON(c, http.StatusCreated, CreatedAPIKey{
		ID: k.ID, Name: k.Name, Role: Role(k.Role), Key: key, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	})
}

// ListTenantAPIKeys lists a tenant's API keys.
func (s *adminServer) ListTenantAPIKeys(c echo.Context, _ TenantPath, params ListTenantAPIKeysParams) error {
	return s.listAPIKeys(c, &callOf(c).tenantID, ListPlatformAPIKeysParams(params))
}

// ListPlatformAPIKeys lists the platform's API keys.
func (s *adminServer) ListPlatformAPIKeys(c echo.Context, params ListPlatformAPIKeysParams) error {
	return s.listAPIKeys(c, nil, params)
}

func (s *adminServer) listAPIKeys(c echo.Context, tenantID *uuid.UUID, params ListPlatformAPIKeysParams) error {
	list, next, err := s.cfg.Tenants.ListAPIKeys(c.Request().Context(), tenantID, valueOr(params.Limit, 0), valueOr(params.Cursor, ""))
	if err != nil {
		return err
	}
	out := APIKeyList{Items: make([]APIKey, len(list)), NextCursor: nonZero(next)}
	for i, k := range list {
		out.Items[i] = renderAPIKey(k)
	}
	return replyJSON(c, http.StatusOK, out)
}

// RevokeTenantAPIKey revokes an API key of a tenant.
func (s *adminServer) RevokeTenantAPIKey(c echo.Context, _ TenantPath, id APIKeyIDPath, p RevokeTenantAPIKeyParams) error {
	return s.revokeAPIKey(c, &callOf(c).tenantID, id, valueOr(p.Children, false))
}

// RevokePlatformAPIKey revokes an API key of the platform.
func (s *adminServer) RevokePlatformAPIKey(c echo.Context, id APIKeyIDPath, p RevokePlatformAPIKeyParams) error {
	return s.revokeAPIKey(c, nil, id, valueOr(p.Children, false))
}

func (s *adminServer) revokeAPIKey(c echo.Context, tenantID *uuid.UUID, id uuid.UUID, children bool) error {
	done, err := s.cfg.Tenants.RevokeAPIKey(c.Request().Context(), auditBy(c), tenantID, id, children)
	if err != nil {
		return err
	}
	if !children && done.Left == 0 {
		return c.NoContent(http.StatusNoContent)
	}
	return replyJSON(c, http.StatusOK, RevokedAPIKeys{Revoked: done.IDs, ChildrenRevoked: len(done.IDs) - 1, ChildrenLeft: done.Left})
}

func renderAPIKey(k tenant.APIKey) APIKey {
	var creator *Actor
	if k.CreatedBy != nil {
		creator = new(renderActor(*k.CreatedBy))
	}
	return APIKey{
		CreatedBy: creator,
		ID:        k.ID, Name: k.Name, Role: Role(k.Role), CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt,
	}
}

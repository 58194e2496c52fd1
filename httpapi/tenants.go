package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/tenant"
)

// GetDestructionCertificate signs a certificate of the key material destroyed
// with a deleted tenant.
func (s *adminServer) GetDestructionCertificate(c echo.Context, id uuid.UUID) error {
	certificate, err := s.signDestruction(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, certificate)
}

func (s *adminServer) signDestruction(ctx context.Context, id uuid.UUID) (DestructionCertificate, error) {
	d, err := s.cfg.Signer.Destruction(ctx, id)
	if err != nil {
		return DestructionCertificate{}, err
	}
	signed, err := s.cfg.Signer.CertifyDestruction(ctx, d)
	return DestructionCertificate{Certificate: signed.JWS}, err
}

// replyDeleted answers a deletion with its certificate. If the certificate
// cannot be signed it answers 204, since the tenant is already deleted.
func (s *adminServer) replyDeleted(c echo.Context, id uuid.UUID) error {
	certificate, err := s.signDestruction(c.Request().Context(), id)
	if err != nil {
		s.cfg.Log.WarnContext(c.Request().Context(), "certificate of destruction not signed", "tenant_id", id, "error", err)
		return c.NoContent(http.StatusNoContent)
	}
	c.Response().Header().Set("Preference-Applied", "return=representation")
	return replyJSON(c, http.StatusOK, certificate)
}

// invalidateDomain drops the cached miss for a tenant's new custom domain once that is
// committed.
func (s *adminServer) invalidateDomain(c echo.Context, t tenant.Tenant) {
	if t.CustomDomain != "" {
		tenant.AfterCommit(c.Request().Context(), func() { s.cfg.Snapshots.Changed(t.ID, tenant.DomainRef(t.CustomDomain)) })
	}
}

func (s *adminServer) renderTenant(t tenant.Tenant) Tenant {
	return Tenant{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Issuer: t.Issuer(s.cfg.PublicURL), CustomDomain: nullableOf(nonZero(t.CustomDomain)), Status: TenantStatus(t.Status),
		JWKSMaxAgeSeconds:               wholeSeconds(t.Caching.MaxAge),
		JWKSStaleWhileRevalidateSeconds: wholeSeconds(t.Caching.StaleWhileRevalidate),
		JWKSStaleIfErrorSeconds:         wholeSeconds(t.Caching.StaleIfError),
		ClockSkewSeconds:                wholeSeconds(t.Caching.ClockSkew),
		NotBefore:                       t.NotBefore, FreezeWindows: renderFreezes(t.Freezes), ApprovalRequired: renderGuarded(t.ApprovalRequired),
		Metadata: renderMetadata(t.Metadata), JWKSPath: nonZero(t.JWKSPath), JWKSHeaders: t.JWKSHeaders, CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

func renderMetadata(members json.RawMessage) *ProviderMetadata {
	if len(members) == 0 {
		return nil
	}
	return new(ProviderMetadata(members))
}

func renderFreezes(freezes []tenant.Freeze) []FreezeWindow {
	out := make([]FreezeWindow, len(freezes))
	for i, f := range freezes {
		out[i] = FreezeWindow{From: f.From, Until: f.Until, Reason: nonZero(f.Reason)}
	}
	return out
}

// adminServer answers the operations on tenants, their policies, keys,
// domains, approvals and API keys.
type adminServer struct{ cfg *Config }

// CreateTenant creates a tenant with keys that can sign when the request is
// answered.
func (s *adminServer) CreateTenant(c echo.Context) error {
	var body CreateTenantRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	t, err := s.cfg.Store.CreateTenant(c.Request().Context(), auditBy(c), body.tenantSpec())
	if err != nil {
		return err
	}
	tenant.AfterCommit(c.Request().Context(), func() { s.cfg.caches().Changed(t.ID, t.Slug) }) // drops a cached miss
	s.invalidateDomain(c, t)
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+t.Slug)
	return replyJSON(c, http.StatusCreated, s.renderTenant(t))
}

func (r CreateTenantRequest) tenantSpec() tenant.Spec {
	spec := tenant.Spec{
		Slug: r.Slug, Name: valueOr(r.Name, ""), Issuer: valueOr(r.Issuer, ""), CustomDomain: valueOr(r.CustomDomain, ""),
		Caching: tenant.DefaultCaching, Freezes: parseFreezes(r.FreezeWindows), ApprovalRequired: guardedOperations(r.ApprovalRequired),
		Metadata: json.RawMessage(valueOr(r.Metadata, nil)), JWKSPath: valueOr(r.JWKSPath, ""), JWKSHeaders: r.JWKSHeaders,
	}
	overrideSeconds(&spec.Caching.MaxAge, r.JWKSMaxAgeSeconds)
	overrideSeconds(&spec.Caching.StaleWhileRevalidate, r.JWKSStaleWhileRevalidateSeconds)
	overrideSeconds(&spec.Caching.StaleIfError, r.JWKSStaleIfErrorSeconds)
	overrideSeconds(&spec.Caching.ClockSkew, r.ClockSkewSeconds)
	for _, p := range r.Policies {
		spec.Policies = append(spec.Policies, p.toPolicy(valueOr(p.Alg, "")))
	}
	return spec
}

func overrideSeconds(d *time.Duration, n *int64) {
	if n != nil {
		*d = secondsToDuration(*n)
	}
}

// ListTenants lists the platform's tenants.
func (s *adminServer) ListTenants(c echo.Context, params ListTenantsParams) error {
	tenants, next, err := s.cfg.Tenants.List(c.Request().Context(), tenant.ListFilter{
		Q: valueOr(params.Q, ""), Status: tenant.Status(valueOr(params.Status, "")),
		Alg: jose.SignatureAlgorithm(valueOr(params.Alg, "")), Problem: tenant.Problem(valueOr(params.Problem, "")), Limit: valueOr(params.Limit, 0), Cursor: valueOr(params.Cursor, ""),
	})
	if err != nil {
		return err
	}
	out := TenantList{Items: make([]Tenant, len(tenants)), NextCursor: nonZero(next)}
	for i, t := range tenants {
		out.Items[i] = s.renderTenant(t)
	}
	return replyJSON(c, http.StatusOK, out)
}

// GetTenant answers a tenant.
func (s *adminServer) GetTenant(c echo.Context, _ TenantPath) error {
	t, err := s.cfg.Tenants.Get(c.Request().Context(), callOf(c).tenantID.String())
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, s.renderTenant(t))
}

// UpdateTenant changes a tenant.
func (s *adminServer) UpdateTenant(c echo.Context, _ TenantPath) error {
	var body UpdateTenantRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	change := body.tenantChange()
	change.OnlyVerifiedHosts = !callOf(c).Role.OfPlatform()
	t, err := s.cfg.Tenants.Update(c.Request().Context(), auditBy(c), callOf(c).tenantID, change)
	if err != nil {
		return err
	}
	s.invalidateDomain(c, t)
	return replyJSON(c, http.StatusOK, s.renderTenant(t))
}

func (r UpdateTenantRequest) tenantChange() tenant.Change {
	standard := tenant.DefaultCaching
	change := tenant.Change{
		Name: optionalValue(r.Name, ""), Issuer: optionalValue(r.Issuer, ""), CustomDomain: optionalValue(r.CustomDomain, ""),
		MaxAge:               optionalSeconds(r.JWKSMaxAgeSeconds, standard.MaxAge),
		StaleWhileRevalidate: optionalSeconds(r.JWKSStaleWhileRevalidateSeconds, standard.StaleWhileRevalidate),
		StaleIfError:         optionalSeconds(r.JWKSStaleIfErrorSeconds, standard.StaleIfError),
		ClockSkew:            optionalSeconds(r.ClockSkewSeconds, standard.ClockSkew),
	}
	if r.NotBefore.IsNull() {
		change.NotBefore = tenant.Some[*time.Time](nil)
	} else if at, err := r.NotBefore.Get(); err == nil {
		change.NotBefore = tenant.Some(&at)
	}
	change.Freezes = tenant.Optional[[]tenant.Freeze]{Set: r.FreezeWindows.IsSpecified()}
	if windows, err := r.FreezeWindows.Get(); err == nil {
		change.Freezes.Value = parseFreezes(windows)
	}
	change.ApprovalRequired = tenant.Optional[[]tenant.Operation]{Set: r.ApprovalRequired.IsSpecified()}
	if list, err := r.ApprovalRequired.Get(); err == nil {
		change.ApprovalRequired.Value = guardedOperations(list)
	}
	change.Metadata = tenant.Optional[json.RawMessage]{Set: r.Metadata.IsSpecified()}
	if members, err := r.Metadata.Get(); err == nil {
		change.Metadata.Value = json.RawMessage(members)
	}
	change.JWKSPath = optionalValue(r.JWKSPath, "")
	change.JWKSHeaders = optionalValue(r.JWKSHeaders, nil)
	if r.Status != nil {
		change.Status = tenant.Some(tenant.Status(*r.Status))
	}
	return change
}

func parseFreezes(windows []FreezeWindow) []tenant.Freeze {
	out := make([]tenant.Freeze, len(windows))
	for i, w := range windows {
		out[i] = tenant.Freeze{From: w.From, Until: w.Until, Reason: valueOr(w.Reason, "")}
	}
	return out
}

// optionalValue converts a member that null resets to its default (RFC 7396
// section 1).
func optionalValue[T any](v nullable.Nullable[T], standard T) tenant.Optional[T] {
	switch {
	case !v.IsSpecified():
		return tenant.Optional[T]{}
	case v.IsNull():
		return tenant.Some(standard)
	default:
		return tenant.Some(v.MustGet())
	}
}

// optionalSeconds is optionalValue for a duration in seconds.
func optionalSeconds(v nullable.Nullable[int64], standard time.Duration) tenant.Optional[time.Duration] {
	o := optionalValue(v, wholeSeconds(standard))
	return tenant.Optional[time.Duration]{Value: secondsToDuration(o.Value), Set: o.Set}
}

// DeleteTenant deletes a tenant.
func (s *adminServer) DeleteTenant(c echo.Context, _ TenantPath) error {
	id := callOf(c).tenantID
	if err := s.cfg.Store.DeleteTenant(c.Request().Context(), auditBy(c), id); err != nil {
		return err
	}
	if prefersRepresentation(c.Request().Header["Prefer"]) {
		return s.replyDeleted(c, id)
	}
	return c.NoContent(http.StatusNoContent)
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/tenant"
)

// GetDestructionCertificate certifies what the deletion of a tenant destroyed.
func (s *adminServer) GetDestructionCertificate(c echo.Context, id uuid.UUID) error {
	certificate, err := s.certify(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, certificate)
}

func (s *adminServer) certify(ctx context.Context, id uuid.UUID) (DestructionCertificate, error) {
	d, err := s.cfg.Store.Destruction(ctx, id)
	if err != nil {
		return DestructionCertificate{}, err
	}
	signed, err := s.cfg.Signer.CertifyDestruction(ctx, d)
	return DestructionCertificate{Certificate: signed.JWS}, err
}

// deleted answers a deletion with its certificate. The tenant is gone by then:
// without a certificate, the answer is the one that was not asked for.
func (s *adminServer) deleted(c echo.Context, id uuid.UUID) error {
	certificate, err := s.certify(c.Request().Context(), id)
	if err != nil {
		s.cfg.Log.WarnContext(c.Request().Context(), "deletion not certified yet", "tenant_id", id, "error", err)
		return c.NoContent(http.StatusNoContent)
	}
	c.Response().Header().Set("Preference-Applied", "return=representation")
	return reply(c, http.StatusOK, certificate)
}

// notOwnHost refuses to give a tenant the platform's own host.
func (s *adminServer) notOwnHost(domain string) error {
	if domain != "" && tenant.LowerDomain(domain) == s.ownHost {
		return invalid("custom_domain", "must not be the host of this service's public URL")
	}
	return nil
}

// domainChanged makes this process forget that a domain was nobody's.
func (s *adminServer) domainChanged(t tenant.Tenant) {
	if t.CustomDomain != "" {
		s.cfg.Snapshots.Changed(t.ID, tenant.DomainRef(t.CustomDomain))
	}
}

func (s *adminServer) renderTenant(t tenant.Tenant) Tenant {
	domain := nullable.NewNullNullable[string]()
	if t.CustomDomain != "" {
		domain.Set(t.CustomDomain)
	}
	return Tenant{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Issuer: t.Issuer(s.cfg.PublicURL), CustomDomain: domain, Status: TenantStatus(t.Status),
		JWKSMaxAgeSeconds:               whole(t.Caching.MaxAge),
		JWKSStaleWhileRevalidateSeconds: whole(t.Caching.StaleWhileRevalidate),
		JWKSStaleIfErrorSeconds:         whole(t.Caching.StaleIfError),
		ClockSkewSeconds:                whole(t.Caching.ClockSkew),
		NotBefore:                       t.NotBefore, FreezeWindows: renderFreezes(t.Freezes), ApprovalRequired: renderGuarded(t.ApprovalRequired),
		Metadata: renderMetadata(t.Metadata), CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

func renderMetadata(members json.RawMessage) *ProviderMetadata {
	if len(members) == 0 {
		return nil
	}
	return ptr(ProviderMetadata(members))
}

func renderFreezes(freezes []tenant.Freeze) []FreezeWindow {
	out := make([]FreezeWindow, len(freezes))
	for i, f := range freezes {
		out[i] = FreezeWindow{From: f.From, Until: f.Until, Reason: given(f.Reason)}
	}
	return out
}

// adminServer answers the operations on tenants, their policies, keys,
// approvals and API keys.
type adminServer struct {
	cfg     *Config
	ownHost string // of the public URL
}

// CreateTenant makes a tenant that can sign when it is answered.
func (s *adminServer) CreateTenant(c echo.Context, params CreateTenantParams) error {
	var body CreateTenantRequest
	idem, err := decodeOnce(c, params.IdempotencyKey, &body)
	if err != nil {
		return err
	}
	if err := s.notOwnHost(or(body.CustomDomain, "")); err != nil {
		return err
	}
	t, err := s.cfg.Store.CreateTenant(c.Request().Context(), by(c), body.spec(), idem)
	var replay *tenant.ReplayError
	if errors.As(err, &replay) {
		t, err = s.replayTenant(c, replay.ResourceID)
	}
	if err != nil {
		return err
	}
	s.cfg.caches().Changed(t.ID, t.Slug) // somebody may have asked for it before there was one
	s.domainChanged(t)
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+t.Slug)
	return reply(c, http.StatusCreated, s.renderTenant(t))
}

// replayTenant finds what this very request has made before.
func (s *adminServer) replayTenant(c echo.Context, id uuid.UUID) (tenant.Tenant, error) {
	t, err := s.cfg.Tenants.Get(c.Request().Context(), id.String())
	if errors.Is(err, tenant.ErrNotFound) {
		err = newProblem(ProblemCodeConflict, fmt.Sprintf("This request has already created the tenant %s, which was deleted since.", id))
	}
	return t, err
}

func (r CreateTenantRequest) spec() tenant.Spec {
	spec := tenant.Spec{
		Slug: r.Slug, Name: or(r.Name, ""), Issuer: or(r.Issuer, ""), CustomDomain: or(r.CustomDomain, ""),
		Caching: tenant.DefaultCaching, Freezes: freezes(r.FreezeWindows), ApprovalRequired: guardedOperations(r.ApprovalRequired),
		Metadata: json.RawMessage(or(r.Metadata, nil)),
	}
	override(&spec.Caching.MaxAge, r.JWKSMaxAgeSeconds)
	override(&spec.Caching.StaleWhileRevalidate, r.JWKSStaleWhileRevalidateSeconds)
	override(&spec.Caching.StaleIfError, r.JWKSStaleIfErrorSeconds)
	override(&spec.Caching.ClockSkew, r.ClockSkewSeconds)
	for _, p := range r.Policies {
		spec.Policies = append(spec.Policies, p.policy(or(p.Alg, "")))
	}
	return spec
}

func override(d *time.Duration, n *int64) {
	if n != nil {
		*d = seconds(*n)
	}
}

// ListTenants lists the platform's tenants.
func (s *adminServer) ListTenants(c echo.Context, params ListTenantsParams) error {
	tenants, next, err := s.cfg.Tenants.List(c.Request().Context(), tenant.ListFilter{
		Q: or(params.Q, ""), Status: tenant.Status(or(params.Status, "")), Limit: or(params.Limit, 0), Cursor: or(params.Cursor, ""),
	})
	if err != nil {
		return err
	}
	out := TenantList{Items: make([]Tenant, len(tenants)), NextCursor: given(next)}
	for i, t := range tenants {
		out.Items[i] = s.renderTenant(t)
	}
	return reply(c, http.StatusOK, out)
}

// GetTenant reads a tenant.
func (s *adminServer) GetTenant(c echo.Context, _ TenantPath) error {
	t, err := s.cfg.Tenants.Get(c.Request().Context(), of(c).tenantID.String())
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, s.renderTenant(t))
}

// UpdateTenant changes a tenant.
func (s *adminServer) UpdateTenant(c echo.Context, _ TenantPath, params UpdateTenantParams) error {
	var body UpdateTenantRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	change := body.change()
	if err := s.notOwnHost(change.CustomDomain.Value); err != nil {
		return err
	}
	if change.ApprovalRequired.Set {
		if agreed, err := s.agreedToRelax(c, change, params.KeywardApproval); !agreed {
			return err
		}
	}
	t, err := s.cfg.Tenants.Update(c.Request().Context(), by(c), of(c).tenantID, change)
	if err != nil {
		return err
	}
	s.domainChanged(t)
	return reply(c, http.StatusOK, s.renderTenant(t))
}

func (r UpdateTenantRequest) change() tenant.Change {
	standard := tenant.DefaultCaching
	change := tenant.Change{
		Name: cleared(r.Name, ""), Issuer: cleared(r.Issuer, ""), CustomDomain: cleared(r.CustomDomain, ""),
		MaxAge:               setting(r.JWKSMaxAgeSeconds, standard.MaxAge),
		StaleWhileRevalidate: setting(r.JWKSStaleWhileRevalidateSeconds, standard.StaleWhileRevalidate),
		StaleIfError:         setting(r.JWKSStaleIfErrorSeconds, standard.StaleIfError),
		ClockSkew:            setting(r.ClockSkewSeconds, standard.ClockSkew),
	}
	if r.NotBefore.IsNull() {
		change.NotBefore = tenant.Some[*time.Time](nil)
	} else if at, err := r.NotBefore.Get(); err == nil {
		change.NotBefore = tenant.Some(&at)
	}
	change.Freezes = tenant.Optional[[]tenant.Freeze]{Set: r.FreezeWindows.IsSpecified()}
	if windows, err := r.FreezeWindows.Get(); err == nil {
		change.Freezes.Value = freezes(windows)
	}
	change.ApprovalRequired = tenant.Optional[[]tenant.Operation]{Set: r.ApprovalRequired.IsSpecified()}
	if list, err := r.ApprovalRequired.Get(); err == nil {
		change.ApprovalRequired.Value = guardedOperations(list)
	}
	change.Metadata = tenant.Optional[json.RawMessage]{Set: r.Metadata.IsSpecified()}
	if members, err := r.Metadata.Get(); err == nil {
		change.Metadata.Value = json.RawMessage(members)
	}
	if r.Status != nil {
		change.Status = tenant.Some(tenant.Status(*r.Status))
	}
	return change
}

func freezes(windows []FreezeWindow) []tenant.Freeze {
	out := make([]tenant.Freeze, len(windows))
	for i, w := range windows {
		out[i] = tenant.Freeze{From: w.From, Until: w.Until, Reason: or(w.Reason, "")}
	}
	return out
}

// cleared is a member that null sets to its default (RFC 7396 section 1).
func cleared[T any](v nullable.Nullable[T], standard T) tenant.Optional[T] {
	switch {
	case !v.IsSpecified():
		return tenant.Optional[T]{}
	case v.IsNull():
		return tenant.Some(standard)
	default:
		return tenant.Some(v.MustGet())
	}
}

func setting(v nullable.Nullable[int64], standard time.Duration) tenant.Optional[time.Duration] {
	o := cleared(v, whole(standard))
	return tenant.Optional[time.Duration]{Value: seconds(o.Value), Set: o.Set}
}

// DeleteTenant ends a tenant.
func (s *adminServer) DeleteTenant(c echo.Context, _ TenantPath, params DeleteTenantParams) error {
	if agreed, err := s.agreed(c, params.KeywardApproval); !agreed {
		return err
	}
	id := of(c).tenantID
	if err := s.cfg.Store.DeleteTenant(c.Request().Context(), by(c), id); err != nil {
		return err
	}
	if prefersRepresentation(c.Request().Header["Prefer"]) {
		return s.deleted(c, id)
	}
	return c.NoContent(http.StatusNoContent)
}

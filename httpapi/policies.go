package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// ListPolicies lists a tenant's live policies.
func (s *adminServer) ListPolicies(c echo.Context, _ TenantPath) error {
	policies, err := s.cfg.Tenants.Policies(c.Request().Context(), callOf(c).tenantID)
	if err != nil {
		return err
	}
	out := PolicyList{Items: make([]Policy, len(policies))}
	for i, p := range policies {
		out.Items[i] = renderPolicy(p)
	}
	return replyJSON(c, http.StatusOK, out)
}

// PutPolicy creates or replaces a policy.
func (s *adminServer) PutPolicy(c echo.Context, _ TenantPath, alg AlgPath, params PutPolicyParams) error {
	var body PutPolicyRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if valueOr(body.Alg, alg) != alg {
		return invalidField("alg", "must be absent, or the algorithm in the path")
	}
	p := body.toPolicy(alg)
	if body.Default == nil {
		var err error
		if p.Default, err = s.keepsDefault(c.Request().Context(), callOf(c).tenantID, p.Alg); err != nil {
			return err
		}
	}
	if valueOr(params.DryRun, false) {
		return s.previewPolicy(c, p)
	}
	p, created, err := s.cfg.Store.PutPolicy(c.Request().Context(), auditBy(c), callOf(c).tenantID, p)
	if err != nil {
		return err
	}
	if created {
		return replyJSON(c, http.StatusCreated, renderPolicy(p))
	}
	return replyJSON(c, http.StatusOK, renderPolicy(p))
}

func (s *adminServer) previewPolicy(c echo.Context, p tenant.Policy) error {
	would, err := s.cfg.Store.PreviewPolicy(c.Request().Context(), auditBy(c), callOf(c).tenantID, p)
	if err != nil {
		return err
	}
	out := PolicyPreview{Policy: renderPolicy(would.Policy), Created: would.Created, Timeline: renderTimeline(would.Timeline), Warnings: policyWarnings(would.Policy)}
	if out.JWKSBefore, out.JWKSAfter, err = renderSets(would.Before, would.After); err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, out)
}

// keepsDefault returns the current value of default, for a request without that
// member. If it changes before the policy is stored, the store refuses the
// policy.
func (s *adminServer) keepsDefault(ctx context.Context, tenantID uuid.UUID, alg jose.SignatureAlgorithm) (bool, error) {
	policies, err := s.cfg.Tenants.Policies(ctx, tenantID)
	return slices.ContainsFunc(policies, func(p tenant.Policy) bool { return p.Alg == alg && p.Default }), err
}

// toPolicy returns the complete policy of a request: absent members have the
// values of [tenant.DefaultPolicy].
func (r PutPolicyRequest) toPolicy(alg Alg) tenant.Policy {
	p := tenant.DefaultPolicy(jose.SignatureAlgorithm(alg))
	p.Default = valueOr(r.Default, false)
	p.RSABits = int(valueOr(r.RSABits, PutPolicyRequestRSABits(p.RSABits)))
	p.MaxPublishedKeys = valueOr(r.MaxPublishedKeys, p.MaxPublishedKeys)
	p.MinAdoption = valueOr(r.MinAdoption, p.MinAdoption)
	overrideSeconds(&p.MaxAdoptionWait, r.MaxAdoptionWaitSeconds)
	overrideSeconds(&p.RotationInterval, r.RotationIntervalSeconds)
	overrideSeconds(&p.PublishLead, r.PublishLeadSeconds)
	overrideSeconds(&p.GracePeriod, r.GracePeriodSeconds)
	overrideSeconds(&p.PurgeAfter, r.PurgeAfterSeconds)
	overrideSeconds(&p.DefaultTokenTTL, r.DefaultTokenTTLSeconds)
	overrideSeconds(&p.MaxTokenTTL, r.MaxTokenTTLSeconds)
	return p
}

// RetirePolicy stops signing with an algorithm.
func (s *adminServer) RetirePolicy(c echo.Context, _ TenantPath, alg AlgPath, params RetirePolicyParams) error {
	if valueOr(params.DryRun, false) {
		return s.previewRetirement(c, jose.SignatureAlgorithm(alg))
	}
	err := s.cfg.Store.RetirePolicy(c.Request().Context(), auditBy(c), callOf(c).tenantID, jose.SignatureAlgorithm(alg))
	if err != nil {
		return policyNotFound(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *adminServer) previewRetirement(c echo.Context, alg jose.SignatureAlgorithm) error {
	would, err := s.cfg.Store.PreviewRetirement(c.Request().Context(), auditBy(c), callOf(c).tenantID, alg)
	if err != nil {
		return policyNotFound(err)
	}
	out := RetirePreview{Timeline: renderTimeline(would.Timeline)}
	if out.JWKSBefore, out.JWKSAfter, err = renderSets(would.Before, would.After); err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, out)
}

// policyNotFound answers 404 instead of 422 where the missing policy is the
// resource in the path.
func policyNotFound(err error) error {
	if errors.Is(err, keys.ErrPolicyNotFound) {
		return newProblem(ProblemCodeNotFound, "The tenant has no policy for this algorithm.")
	}
	return err
}

func renderPolicy(p tenant.Policy) Policy {
	return Policy{
		Alg: Alg(p.Alg), Default: p.Default, RSABits: nonZero(p.RSABits),
		RotationIntervalSeconds: wholeSeconds(p.RotationInterval), PublishLeadSeconds: wholeSeconds(p.PublishLead),
		GracePeriodSeconds: wholeSeconds(p.GracePeriod), PurgeAfterSeconds: wholeSeconds(p.PurgeAfter),
		DefaultTokenTTLSeconds: wholeSeconds(p.DefaultTokenTTL), MaxTokenTTLSeconds: wholeSeconds(p.MaxTokenTTL),
		MaxPublishedKeys: p.MaxPublishedKeys, MinAdoption: p.MinAdoption, MaxAdoptionWaitSeconds: wholeSeconds(p.MaxAdoptionWait),
	}
}

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
	policies, err := s.cfg.Tenants.Policies(c.Request().Context(), of(c).tenantID)
	if err != nil {
		return err
	}
	out := PolicyList{Items: make([]Policy, len(policies))}
	for i, p := range policies {
		out.Items[i] = renderPolicy(p)
	}
	return reply(c, http.StatusOK, out)
}

// PutPolicy creates or replaces a policy.
func (s *adminServer) PutPolicy(c echo.Context, _ TenantPath, alg AlgPath, params PutPolicyParams) error {
	var body PutPolicyRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if or(body.Alg, alg) != alg {
		return invalid("alg", "must be absent, or the algorithm in the path")
	}
	p := body.policy(alg)
	if body.Default == nil {
		var err error
		if p.Default, err = s.isDefault(c.Request().Context(), of(c).tenantID, p.Alg); err != nil {
			return err
		}
	}
	if or(params.DryRun, false) {
		return s.previewPolicy(c, p)
	}
	p, created, err := s.cfg.Store.PutPolicy(c.Request().Context(), by(c), of(c).tenantID, p)
	if err != nil {
		return err
	}
	if created {
		return reply(c, http.StatusCreated, renderPolicy(p))
	}
	return reply(c, http.StatusOK, renderPolicy(p))
}

func (s *adminServer) previewPolicy(c echo.Context, p tenant.Policy) error {
	would, err := s.cfg.Store.PreviewPolicy(c.Request().Context(), by(c), of(c).tenantID, p)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, PolicyPreview{
		Policy: renderPolicy(would.Policy), Created: would.Created, Timeline: renderTimeline(would.Timeline),
		JWKSBefore: renderSet(would.Before), JWKSAfter: renderSet(would.After),
	})
}

// isDefault is what "default" stays at where a request does not say. Should it
// change before the policy is stored, the store refuses.
func (s *adminServer) isDefault(ctx context.Context, tenantID uuid.UUID, alg jose.SignatureAlgorithm) (bool, error) {
	policies, err := s.cfg.Tenants.Policies(ctx, tenantID)
	return slices.ContainsFunc(policies, func(p tenant.Policy) bool { return p.Alg == alg && p.Default }), err
}

// policy is the whole policy that the request asks for: what is absent is as
// [tenant.DefaultPolicy] has it.
func (r PutPolicyRequest) policy(alg Alg) tenant.Policy {
	p := tenant.DefaultPolicy(jose.SignatureAlgorithm(alg))
	p.Default = or(r.Default, false)
	p.RSABits = int(or(r.RSABits, PutPolicyRequestRSABits(p.RSABits)))
	p.MaxPublishedKeys = or(r.MaxPublishedKeys, p.MaxPublishedKeys)
	override(&p.RotationInterval, r.RotationIntervalSeconds)
	override(&p.PublishLead, r.PublishLeadSeconds)
	override(&p.GracePeriod, r.GracePeriodSeconds)
	override(&p.PurgeAfter, r.PurgeAfterSeconds)
	override(&p.DefaultTokenTTL, r.DefaultTokenTTLSeconds)
	override(&p.MaxTokenTTL, r.MaxTokenTTLSeconds)
	return p
}

// RetirePolicy ends signing with an algorithm.
func (s *adminServer) RetirePolicy(c echo.Context, _ TenantPath, alg AlgPath, params RetirePolicyParams) error {
	if or(params.DryRun, false) {
		return s.previewRetirement(c, jose.SignatureAlgorithm(alg))
	}
	err := s.cfg.Store.RetirePolicy(c.Request().Context(), by(c), of(c).tenantID, jose.SignatureAlgorithm(alg))
	if err != nil {
		return notThere(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *adminServer) previewRetirement(c echo.Context, alg jose.SignatureAlgorithm) error {
	would, err := s.cfg.Store.PreviewRetirement(c.Request().Context(), by(c), of(c).tenantID, alg)
	if err != nil {
		return notThere(err)
	}
	return reply(c, http.StatusOK, RetirePreview{
		Timeline: renderTimeline(would.Timeline), JWKSBefore: renderSet(would.Before), JWKSAfter: renderSet(would.After),
	})
}

// notThere is for requests in which the policy is the thing asked for, not a
// means.
func notThere(err error) error {
	if errors.Is(err, keys.ErrPolicyNotFound) {
		return newProblem(ProblemCodeNotFound, "The tenant has no policy for this algorithm.")
	}
	return err
}

func renderPolicy(p tenant.Policy) Policy {
	return Policy{
		Alg: Alg(p.Alg), Default: p.Default, RSABits: given(p.RSABits),
		RotationIntervalSeconds: whole(p.RotationInterval), PublishLeadSeconds: whole(p.PublishLead),
		GracePeriodSeconds: whole(p.GracePeriod), PurgeAfterSeconds: whole(p.PurgeAfter),
		DefaultTokenTTLSeconds: whole(p.DefaultTokenTTL), MaxTokenTTLSeconds: whole(p.MaxTokenTTL),
		MaxPublishedKeys: p.MaxPublishedKeys,
	}
}

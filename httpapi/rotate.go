package httpapi

import (
	"net/http"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
)

// PurgeKeys erases the public part of expired and revoked keys.
func (s *adminServer) PurgeKeys(c echo.Context, _ TenantPath) error {
	purged, err := s.cfg.Store.Purge(c.Request().Context(), auditBy(c), callOf(c).tenantID)
	if err != nil {
		return err
	}
	out := PurgeResult{Purged: make([]string, len(purged))}
	for i, k := range purged {
		out.Purged[i] = k.KID
	}
	return replyJSON(c, http.StatusOK, out)
}

// RotateDataKey re-encrypts a tenant's private keys with a new data key.
func (s *adminServer) RotateDataKey(c echo.Context, _ TenantPath) error {
	done, err := s.cfg.Store.RotateDataKey(c.Request().Context(), auditBy(c), callOf(c).tenantID)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, DataKey{Version: int(done.Version), Resealed: done.Resealed, CreatedAt: done.CreatedAt})
}

// RevokeKey revokes a key, or previews the revocation.
func (s *adminServer) RevokeKey(c echo.Context, _ TenantPath, kid KIDPath, params RevokeKeyParams) error {
	if !keys.ValidKID(kid) {
		return newProblem(ProblemCodeKeyNotFound, "")
	}
	var body RevokeRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	revoke := s.cfg.Store.Revoke
	if dry {
		revoke = s.cfg.Store.PreviewRevocation
		s.flushEvidence(c) // a preview includes the latest evidence; a revocation does not wait for it
	}
	done, err := revoke(c.Request().Context(), auditBy(c), callOf(c).tenantID, kid, s.revokeRequest(c, body.Reason, body.Comment, body.Mode))
	if err != nil {
		return err
	}
	return replyRevocation(c, done, dry)
}

// RevokeActiveKey revokes the key that signs, or previews the revocation.
func (s *adminServer) RevokeActiveKey(c echo.Context, _ TenantPath, params RevokeActiveKeyParams) error {
	var body RevokeActiveRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	revoke := s.cfg.Store.RevokeActive
	if dry {
		revoke = s.cfg.Store.PreviewActiveRevocation
		s.flushEvidence(c)
	}
	done, err := revoke(c.Request().Context(), auditBy(c), callOf(c).tenantID, jose.SignatureAlgorithm(valueOr(body.Alg, "")),
		s.revokeRequest(c, body.Reason, body.Comment, body.Mode))
	if err != nil {
		return err
	}
	return replyRevocation(c, done, dry)
}

func (s *adminServer) revokeRequest(c echo.Context, reason RevocationReason, comment *string, mode *RevocationMode) moves.RevokeRequest {
	tenantID := callOf(c).tenantID
	return moves.RevokeRequest{
		Reason: keys.Reason(reason), Comment: valueOr(comment, ""), Mode: moves.Mode(valueOr(mode, "")),
		Use: func(kid string) signing.RecentUse { return s.cfg.Signer.RecentUse(tenantID, kid) },
	}
}

func replyRevocation(c echo.Context, done moves.Revocation, dry bool) error {
	out := RevokeResult{
		Key: renderKey(done.Key), Mode: nonZero(RevocationMode(done.Mode)), TrustedUntil: renderTrust(done.TrustedUntil),
		BreaksTokensUntil: done.BreaksTokensUntil, DryRun: nonZero(dry),
	}
	if done.Active != nil {
		out.Replacement = new(renderKey(*done.Active))
	}
	if done.Standby != nil {
		out.Standby = new(renderKey(*done.Standby))
	}
	return replyJSON(c, http.StatusOK, out)
}

// flushEvidence stores the latest evidence of use, so that the answer includes
// it. A failure does not prevent the revocation.
func (s *adminServer) flushEvidence(c echo.Context) {
	if err := s.cfg.Signer.FlushEvidence(c.Request().Context()); err != nil {
		s.cfg.Log.Warn("evidence of key use not stored", "error", err)
	}
}

// RevokeAllKeys revokes and replaces every key of a tenant, or previews that.
func (s *adminServer) RevokeAllKeys(c echo.Context, _ TenantPath, params RevokeAllKeysParams) error {
	var body RevokeAllRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	revoke := s.cfg.Store.RevokeAll
	if dry {
		revoke = s.cfg.Store.PreviewRevokeAll
	}
	s.flushEvidence(c)
	done, err := revoke(c.Request().Context(), auditBy(c), callOf(c).tenantID, keys.Reason(body.Reason), valueOr(body.Comment, ""))
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, RevokeAllResult{
		Revoked: renderKeys(done.Revoked), Active: renderKeys(done.Active), Standby: renderKeys(done.Standby),
		TrustedUntil: renderTrust(done.TrustedUntil), BreaksTokensUntil: done.BreaksTokensUntil, DryRun: nonZero(dry),
	})
}

// RotateKeys rotates the keys of a policy, or previews the rotation.
func (s *adminServer) RotateKeys(c echo.Context, _ TenantPath, params RotateKeysParams) error {
	var body RotateRequest
	if err := decodeOptionalBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	req := moves.RotateRequest{Alg: jose.SignatureAlgorithm(valueOr(body.Alg, "")), Reason: valueOr(body.Reason, "")}
	if dry {
		return s.previewRotation(c, req)
	}
	done, err := s.cfg.Store.Rotate(c.Request().Context(), auditBy(c), callOf(c).tenantID, req)
	if err != nil {
		return err
	}
	out := RotateResult{
		Active: renderKey(done.Active), Deprecated: nullable.NewNullNullable[Key](), Standby: renderKey(done.Standby),
		PublishedSeconds: done.PublishedSeconds,
	}
	if done.Deprecated != nil {
		out.Deprecated.Set(renderKey(*done.Deprecated))
	}
	return replyJSON(c, http.StatusOK, out)
}

func (s *adminServer) previewRotation(c echo.Context, req moves.RotateRequest) error {
	p, err := s.cfg.Store.PreviewRotation(c.Request().Context(), auditBy(c), callOf(c).tenantID, req)
	if err != nil {
		return err
	}
	out := RotatePreview{Timeline: renderTimeline(p.Timeline), PublishedSeconds: p.PublishedSeconds}
	if out.JWKSBefore, out.JWKSAfter, err = renderSets(p.Before, p.After); err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, out)
}

// dryRun returns dry_run of the query or the body, which must not contradict
// each other.
func dryRun(query, body *bool) (bool, error) {
	if query != nil && body != nil && *query != *body {
		return false, invalidField("dry_run", "must be the same in the query and in the body, or in one of them only")
	}
	return valueOr(query, false) || valueOr(body, false), nil
}

func renderTimeline(timeline []moves.Milestone) []TimelineStep {
	out := make([]TimelineStep, len(timeline))
	for i, m := range timeline {
		out[i] = TimelineStep{
			At: m.At, KID: nonZero(m.KID), Action: stateAction(m.To), FromState: nonZero(KeyState(m.From)), ToState: nonZero(KeyState(m.To)),
		}
	}
	return out
}

// stateAction returns the audit action of a key that enters a state.
func stateAction(to keys.State) AuditAction {
	action := map[keys.State]audit.Action{
		keys.Standby: audit.KeyCreated, keys.Active: audit.KeyActivated, keys.Deprecated: audit.KeyDeprecated,
		keys.Expired: audit.KeyExpired, keys.Revoked: audit.KeyRevoked, keys.Purged: audit.KeyPurged,
	}[to]
	return AuditAction(action)
}

// renderSets returns the JWK Sets before and after a change.
func renderSets(before, after []keys.Key) (b, a JWKSet, err error) {
	if b, err = renderSet(before); err == nil {
		a, err = renderSet(after)
	}
	return b, a, err
}

func renderSet(published []keys.Key) (JWKSet, error) {
	set := JWKSet{Keys: make([]JWK, 0, len(published))}
	for _, k := range published {
		jwks, err := k.PublicJWKs()
		if err != nil {
			return JWKSet{}, err
		}
		set.Keys = append(set.Keys, jwks...)
	}
	return set, nil
}

func renderTrust(trust []moves.Trust) TrustedUntil {
	out := make(TrustedUntil, len(trust))
	for i, t := range trust {
		out[i] = VerifierTrust{
			Class: t.Class, Examples: t.Examples, Why: t.Why, Until: nullableOf(t.Until),
			EndsAtFreshToken: nonZero(t.EndsAtFreshToken),
		}
	}
	return out
}

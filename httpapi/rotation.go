package httpapi

import (
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
)

// RotateKeys rotates now, or says what that would do.
func (s *server) RotateKeys(c echo.Context, _ TenantPath, params RotateKeysParams) error {
	var body RotateRequest
	if err := decodeOptionalBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	req := moves.RotateRequest{Alg: jose.SignatureAlgorithm(or(body.Alg, "")), Reason: or(body.Reason, "")}
	if dry {
		return s.previewRotation(c, req)
	}
	done, err := s.cfg.Store.Rotate(c.Request().Context(), by(c), of(c).tenantID, req)
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
	return reply(c, http.StatusOK, out)
}

func (s *server) previewRotation(c echo.Context, req moves.RotateRequest) error {
	p, err := s.cfg.Store.PreviewRotation(c.Request().Context(), by(c), of(c).tenantID, req)
	if err != nil {
		return err
	}
	out := RotatePreview{
		Timeline: renderTimeline(p.Timeline), PublishedSeconds: p.PublishedSeconds,
		JWKSBefore: renderSet(p.Before), JWKSAfter: renderSet(p.After),
	}
	return reply(c, http.StatusOK, out)
}

// dryRun is what the query or the body asks for; they must not contradict.
func dryRun(query, body *bool) (bool, error) {
	if query != nil && body != nil && *query != *body {
		return false, invalid("dry_run", "must be the same in the query and in the body, or in one of them only")
	}
	return or(query, false) || or(body, false), nil
}

func renderTimeline(timeline []moves.Milestone) []TimelineStep {
	out := make([]TimelineStep, len(timeline))
	for i, m := range timeline {
		out[i] = TimelineStep{
			At: m.At, KID: given(m.KID), Action: arrival(m.To), FromState: given(KeyState(m.From)), ToState: given(KeyState(m.To)),
		}
	}
	return out
}

// arrival is the event of a key that reaches a state.
func arrival(to keys.State) AuditAction {
	action := map[keys.State]audit.Action{
		keys.Standby: audit.KeyCreated, keys.Active: audit.KeyActivated, keys.Deprecated: audit.KeyDeprecated,
		keys.Expired: audit.KeyExpired, keys.Revoked: audit.KeyRevoked, keys.Purged: audit.KeyPurged,
	}[to]
	return AuditAction(action)
}

func renderSet(published []keys.Key) JWKSet {
	set := JWKSet{Keys: make([]JWK, len(published))}
	for i, k := range published {
		set.Keys[i] = k.PublicJWK
	}
	return set
}

func renderTrust(trust []moves.Trust) TrustedUntil {
	out := make(TrustedUntil, len(trust))
	for i, t := range trust {
		out[i] = VerifierTrust{
			Class: t.Class, Examples: t.Examples, Why: t.Why, Until: nullable.NewNullNullable[time.Time](),
			EndsAtFreshToken: given(t.EndsAtFreshToken),
		}
		if t.Until != nil {
			out[i].Until.Set(*t.Until)
		}
	}
	return out
}

package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
)

// RevokeKey takes a key out of the JWKS, or says what that would do.
func (s *server) RevokeKey(c echo.Context, _ TenantPath, kid KIDPath, params RevokeKeyParams) error {
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
		s.evidence(c) // who asks what would be, also looks at keys; a revocation itself does not wait for it
	}
	done, err := revoke(c.Request().Context(), by(c), of(c).tenantID, kid, moves.RevokeRequest{
		Reason: keys.Reason(body.Reason), Comment: or(body.Comment, ""), Mode: moves.Mode(or(body.Mode, "")),
		Use: s.cfg.Signer.RecentUse(of(c).tenantID, kid),
	})
	if err != nil {
		return err
	}
	out := RevokeResult{
		Key: renderKey(done.Key), Mode: given(RevocationMode(done.Mode)), TrustedUntil: renderTrust(done.TrustedUntil),
		BreaksTokensUntil: done.BreaksTokensUntil, DryRun: given(dry),
	}
	if done.Active != nil {
		out.Replacement = ptr(renderKey(*done.Active))
	}
	if done.Standby != nil {
		out.Standby = ptr(renderKey(*done.Standby))
	}
	return reply(c, http.StatusOK, out)
}

// evidence lets the answer know of what this process signed a moment ago. That
// it cannot be written is no reason not to revoke.
func (s *server) evidence(c echo.Context) {
	if err := s.cfg.Signer.FlushEvidence(c.Request().Context()); err != nil {
		s.cfg.Log.Warn("evidence of signatures is not written yet", "error", err)
	}
}

// RevokeAllKeys revokes and replaces every key of a tenant, or says what that
// would do.
func (s *server) RevokeAllKeys(c echo.Context, _ TenantPath, params RevokeAllKeysParams) error {
	var body RevokeAllRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	if !dry {
		if agreed, err := s.agreed(c, params.KeywardApproval); !agreed {
			return err
		}
	}
	revoke := s.cfg.Store.RevokeAll
	if dry {
		revoke = s.cfg.Store.PreviewRevokeAll
	}
	s.evidence(c)
	done, err := revoke(c.Request().Context(), by(c), of(c).tenantID, keys.Reason(body.Reason), or(body.Comment, ""))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, RevokeAllResult{
		Revoked: renderKeys(done.Revoked), Active: renderKeys(done.Active), Standby: renderKeys(done.Standby),
		TrustedUntil: renderTrust(done.TrustedUntil), BreaksTokensUntil: done.BreaksTokensUntil, DryRun: given(dry),
	})
}

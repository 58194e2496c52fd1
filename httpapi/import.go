package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/moves"
)

// KeyMaterial is PEM in a string, or a JWK or JWK Set as an object or in a
// string. It may be secret, so it is never printed and is cleared after use.
type KeyMaterial = json.RawMessage

// ImportKey imports a private key, or public keys of another system.
func (s *adminServer) ImportKey(c echo.Context, _ TenantPath, params ImportKeyParams) error {
	var body ImportKeyRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	defer clear(valueOr(body.PrivateKey, nil))
	if problem := body.checkMembers(); problem != nil {
		return problem
	}
	dry, err := dryRun(params.DryRun, body.DryRun)
	if err != nil {
		return err
	}
	body.DryRun = &dry
	if !dry && body.FurtherKeys != nil {
		return invalidField("further_keys", "must be absent without dry_run")
	}
	return s.importMaterial(c, body)
}

func (s *adminServer) importMaterial(c echo.Context, body ImportKeyRequest) error {
	if body.PrivateKey != nil {
		return s.importPrivateKey(c, body)
	}
	return s.importPublicKeys(c, body)
}

// checkMembers refuses combinations of members that contradict each other.
func (r ImportKeyRequest) checkMembers() *Problem {
	private := r.PrivateKey != nil
	switch {
	case private && r.PublicKey != nil:
		return invalidField("public_key", "must be absent beside private_key, from which it is derived")
	case !private && r.PublicKey == nil:
		return invalidField("private_key", "is required, or public_key with expires_at")
	case private && r.Alg == nil:
		return invalidField("alg", "is required with private_key")
	case private && r.ExpiresAt != nil:
		return invalidField("expires_at", "must be absent with private_key: the schedule of the policy decides")
	case !private && r.Role != nil:
		return invalidField("role", "must be absent with public_key: such a key signs nothing")
	case !private && r.ExpiresAt == nil:
		return invalidField("expires_at", "is required with public_key")
	}
	return nil
}

func (s *adminServer) importPrivateKey(c echo.Context, body ImportKeyRequest) error {
	key := materialText(*body.PrivateKey)
	defer clear(key)
	e, err := s.cfg.Store.ImportPrivate(c.Request().Context(), auditBy(c), callOf(c).tenantID, moves.PrivateImport{
		Key: key, Alg: jose.SignatureAlgorithm(*body.Alg), Algs: algorithms(body.Algs), KID: valueOr(body.KID, ""), Active: valueOr(body.Role, "") == ImportKeyRequestRoleActive,
		DryRun: valueOr(body.DryRun, false), Others: valueOr(body.FurtherKeys, 0),
	})
	if err != nil {
		return err
	}
	return replyImported(c, body, e)
}

func (s *adminServer) importPublicKeys(c echo.Context, body ImportKeyRequest) error {
	entries, set, err := s.cfg.Store.ImportPublic(c.Request().Context(), auditBy(c), callOf(c).tenantID, moves.PublicImport{
		Key: materialText(*body.PublicKey), Alg: jose.SignatureAlgorithm(valueOr(body.Alg, "")), Algs: algorithms(body.Algs), KID: valueOr(body.KID, ""),
		ExpiresAt: valueOr(body.ExpiresAt, time.Time{}), DryRun: valueOr(body.DryRun, false), Others: valueOr(body.FurtherKeys, 0),
	})
	if err != nil {
		return err
	}
	if set.IsSet {
		out := KeyList{Items: renderKeys(entries)}
		for _, k := range set.Skipped {
			out.Skipped = append(out.Skipped, SkippedKey{Index: k.Index, KID: nonZero(k.KID), Reason: k.Reason, Refused: k.Refused})
		}
		if valueOr(body.DryRun, false) || len(entries) == 0 { // all are there already
			return replyJSON(c, http.StatusOK, out)
		}
		return replyJSON(c, http.StatusCreated, out)
	}
	return replyImported(c, body, entries[0])
}

func replyImported(c echo.Context, body ImportKeyRequest, e moves.Entry) error {
	if valueOr(body.DryRun, false) {
		return replyJSON(c, http.StatusOK, renderKey(e))
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+callOf(c).slug+"/keys/"+url.PathEscape(e.KID))
	return replyJSON(c, http.StatusCreated, renderKey(e))
}

// materialText returns the text of a JSON string, or the object unchanged.
func materialText(m KeyMaterial) []byte {
	var text string
	if json.Unmarshal(m, &text) == nil {
		return []byte(text)
	}
	return m
}

// algorithms returns the algorithms that a request names.
func algorithms(names []Alg) []jose.SignatureAlgorithm {
	algs := make([]jose.SignatureAlgorithm, len(names))
	for i, name := range names {
		algs[i] = jose.SignatureAlgorithm(name)
	}
	return algs
}

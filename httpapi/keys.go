package httpapi

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// GetJWKSFeed lists the JWK Sets of tenants that changed since a cursor, for
// gateways.
func (s *adminServer) GetJWKSFeed(c echo.Context, params GetJWKSFeedParams) error {
	page, err := s.cfg.Snapshots.Fleet(c.Request().Context(), valueOr(params.SinceCursor, ""), valueOr(params.Limit, 50))
	if err != nil {
		return err
	}
	out := JWKSFeed{Items: make([]FeedItem, len(page.Items)), NextCursor: page.Next}
	for i, p := range page.Items {
		out.Items[i] = FeedItem{
			Tenant: p.Slug, TenantID: p.TenantID, Version: p.Version, JWKS: JSONObject(p.JWKS), NotBefore: p.NotBefore, Deleted: nonZero(p.Deleted),
			Issuer: tenant.Tenant{Slug: p.Slug, OwnIssuer: p.OwnIssuer}.Issuer(s.cfg.PublicURL),
		}
	}
	return replyZipped(c, out)
}

// Media types of a public key.
const (
	mimePEM = "application/x-pem-file"
	mimeJWK = "application/jwk+json" // RFC 7517 section 8.5.1
	mimeDER = "application/octet-stream"
)

// ListKeys lists a tenant's keys.
func (s *adminServer) ListKeys(c echo.Context, _ TenantPath, params ListKeysParams) error {
	page, err := s.cfg.Store.List(c.Request().Context(), callOf(c).tenantID, moves.Filter{
		State: keys.State(valueOr(params.State, "")), Alg: jose.SignatureAlgorithm(valueOr(params.Alg, "")),
		ValidAt: valueOr(params.ValidAt, time.Time{}), Limit: valueOr(params.Limit, 50), Cursor: valueOr(params.Cursor, ""),
	})
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, KeyList{Items: renderKeys(page.Items), NextCursor: nonZero(page.Next)})
}

// GetKey answers a key as JSON, JWK, PEM or DER, whichever the client prefers.
func (s *adminServer) GetKey(c echo.Context, _ TenantPath, kid KIDPath) error {
	c.Response().Header()["Vary"] = varyAccept
	form := chooseType(c.Request().Header["Accept"], echo.MIMEApplicationJSON, mimeJWK, mimePEM, mimeDER)
	if form == "" {
		return newProblem(ProblemCodeNotAcceptable, "")
	}
	if !keys.ValidKID(kid) {
		return newProblem(ProblemCodeKeyNotFound, "")
	}
	e, err := s.cfg.Store.Find(c.Request().Context(), callOf(c).tenantID, kid)
	if err != nil {
		return err
	}
	if form == echo.MIMEApplicationJSON {
		return replyJSON(c, http.StatusOK, renderKey(e))
	}
	if e.PublicJWK == nil {
		return newProblem(ProblemCodeKeyNotFound, "The public key was purged.")
	}
	return publicKey(c, form, e.Key)
}

// GetKeyAdoption answers how many of the verifiers that lately fetched the JWK Set have
// fetched one with the key.
func (s *adminServer) GetKeyAdoption(c echo.Context, _ TenantPath, kid KIDPath) error {
	if !keys.ValidKID(kid) {
		return newProblem(ProblemCodeKeyNotFound, "")
	}
	ctx, tenantID := c.Request().Context(), callOf(c).tenantID
	e, err := s.cfg.Store.Find(ctx, tenantID, kid)
	if err != nil {
		return err
	}
	a, err := s.cfg.Adoption.Of(ctx, tenantID, e.PublishedAt)
	if err != nil {
		return err
	}
	out := KeyAdoption{
		KID: e.KID, PublishedAt: e.PublishedAt, Fetchers: a.Fetchers, Adopted: a.Adopted, Share: a.Share, Stragglers: make([]Straggler, len(a.Stragglers)),
	}
	for i, one := range a.Stragglers {
		out.Stragglers[i] = Straggler{Client: one.Client, LastSeen: one.LastSeen}
	}
	return replyJSON(c, http.StatusOK, out)
}

func publicKey(c echo.Context, form string, k keys.Key) error {
	if form == mimeJWK {
		return c.Blob(http.StatusOK, mimeJWK, k.PublicJWK)
	}
	public, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
	if err != nil {
		return err
	}
	if form == mimeDER {
		der, err := keys.PublicDER(public)
		if err != nil {
			return err
		}
		c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+safeFilename(k.KID)+`.der"`)
		return c.Blob(http.StatusOK, mimeDER, der)
	}
	pem, err := keys.PublicPEM(public)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, mimePEM, pem)
}

// safeFilename returns a kid as a part of a file name in a quoted header value (RFC 6266
// section 4.3): other characters than those of thumbprints become underscores.
func safeFilename(kid string) string {
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf && isUnreserved(byte(c)) {
			return c
		}
		return '_'
	}, kid)
}

func renderKey(e moves.Entry) Key {
	out := Key{
		KID: e.KID, Alg: Alg(e.Alg), Kty: KeyKty(keys.KeyType(e.Alg)), Use: KeyUseSig, State: KeyState(e.State), Origin: KeyOrigin(e.Origin),
		CreatedAt: e.CreatedAt, PublishedAt: e.PublishedAt, ActivatedAt: e.ActivatedAt, DeprecatedAt: e.DeprecatedAt,
		ExpiresAt: e.ExpiresAt, RevokedAt: e.RevokedAt, RevocationReason: nonZero(RevocationReason(e.RevocationReason)),
		PurgedAt: e.PurgedAt, NextTransitionAt: e.NextTransitionAt, LastSignedAt: e.LastSignedAt,
		LastTokenExpiresAt: e.LastTokenExpiresAt, SafeToRetireAt: e.SafeToRetireAt,
	}
	for _, alg := range e.Algs {
		out.Algs = append(out.Algs, Alg(alg))
	}
	if e.ExpiredAt != nil { // possibly earlier than planned
		out.ExpiresAt = e.ExpiredAt
	}
	if e.PublicJWK != nil {
		out.PublicJWK = new(e.PublicJWK)
	}
	return out
}

func renderKeys(entries []moves.Entry) []Key {
	out := make([]Key, len(entries))
	for i, e := range entries {
		out[i] = renderKey(e)
	}
	return out
}

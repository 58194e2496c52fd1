package httpapi

import (
	"compress/gzip"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// GetJWKSFeed tells gateways which tenants changed, and how they are now.
func (s *server) GetJWKSFeed(c echo.Context, params GetJWKSFeedParams) error {
	page, err := s.cfg.Snapshots.Fleet(c.Request().Context(), or(params.SinceCursor, ""), or(params.Limit, 50))
	if err != nil {
		return err
	}
	out := JWKSFeed{Items: make([]FeedItem, len(page.Items)), NextCursor: page.Next}
	for i, p := range page.Items {
		out.Items[i] = FeedItem{
			Tenant: p.Slug, TenantID: p.TenantID, Version: p.Version, JWKS: JSONObject(p.JWKS), NotBefore: p.NotBefore, Deleted: given(p.Deleted),
			Issuer: tenant.Tenant{Slug: p.Slug, OwnIssuer: p.OwnIssuer}.Issuer(s.cfg.PublicURL),
		}
	}
	return replyZipped(c, out)
}

// replyZipped is reply for what is large, in gzip for who accepts that (RFC 9110
// section 12.5.3).
func replyZipped(c echo.Context, v any) error {
	h := c.Response().Header()
	h.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	q, named := named(parseAccept(c.Request().Header["Accept-Encoding"]), "gzip")
	if !named || q == 0 {
		return reply(c, http.StatusOK, v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h.Set(echo.HeaderContentEncoding, "gzip")
	h.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	c.Response().WriteHeader(http.StatusOK)
	zip := gzip.NewWriter(c.Response())
	if _, err := zip.Write(body); err != nil {
		return err
	}
	return zip.Close()
}

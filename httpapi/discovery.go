package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
)

// discovery answers the metadata by which verifiers find a tenant's keys. It is
// cached like the keys.
func (s *server) discovery(c echo.Context, find finder) error {
	h := c.Response().Header()
	public(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	body, err := s.metadata(snap)
	if err != nil {
		return err
	}
	etag := entityTag(body)
	h.Set("ETag", etag)
	h.Set(echo.HeaderCacheControl, snap.CacheControl)
	if stale > 0 {
		markStale(h, stale)
	}
	if matches(c.Request().Header["If-None-Match"], etag) {
		return notModified(c)
	}
	h["Content-Type"] = typeJSON
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return respond(c, body)
}

// metadata is as much of OpenID Connect Discovery 1.0 section 3 and RFC 8414
// section 2 as is true of a platform that keeps keys and signs, but logs nobody
// in: the endpoints of a provider are missing because they do not exist here.
// Response and subject types are required by both; what is said of them is what
// the tokens are, "sub" being whatever the tenant puts there. A retired algorithm
// is listed while a key of it is published, since its tokens are to be accepted
// so long by those who take from here what they accept.
func (s *server) metadata(snap *keys.Snapshot) ([]byte, error) {
	algorithms := snap.Algorithms()
	d := Discovery{
		Issuer:                           snap.Issuer,
		JWKSURI:                          s.jwksURI(snap),
		IDTokenSigningAlgValuesSupported: make([]Alg, len(algorithms)),
		ResponseTypesSupported:           []string{"id_token"},
		SubjectTypesSupported:            []string{"public"},
	}
	for i, alg := range algorithms {
		d.IDTokenSigningAlgValuesSupported[i] = Alg(alg)
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return body, nil
}

// jwksURI is where the tenant's keys are: on its own domain if its issuer is
// there too, which then must lead here, else under the public URL, which does.
func (s *server) jwksURI(snap *keys.Snapshot) string {
	const path = "/.well-known/jwks.json"
	if u, err := url.Parse(snap.Issuer); err == nil && snap.Domain != "" && domainOf(u.Host) == snap.Domain && snap.Domain != s.ownHost {
		return u.Scheme + "://" + u.Host + path
	}
	return s.cfg.PublicURL + "/t/" + snap.Slug + path
}

// entityTag is a strong validator of bytes (RFC 9110 section 8.8.3).
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

// GetOpenIDConfiguration answers a tenant's metadata.
func (s *server) GetOpenIDConfiguration(c echo.Context, _ TenantPath, _ GetOpenIDConfigurationParams) error {
	return s.discovery(c, s.byPath)
}

// GetAuthorizationServerMetadata answers the same (RFC 8414 section 3.1).
func (s *server) GetAuthorizationServerMetadata(c echo.Context, _ TenantPath, _ GetAuthorizationServerMetadataParams) error {
	return s.discovery(c, s.byPath)
}

// GetPlatformOpenIDConfiguration answers that of whoever has the domain, or of
// the platform's own tenant.
func (s *server) GetPlatformOpenIDConfiguration(c echo.Context, _ GetPlatformOpenIDConfigurationParams) error {
	return s.discovery(c, s.byHost)
}

// GetPlatformAuthorizationServerMetadata answers the same.
func (s *server) GetPlatformAuthorizationServerMetadata(c echo.Context, _ GetPlatformAuthorizationServerMetadataParams) error {
	return s.discovery(c, s.byHost)
}

package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/snapshot"
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
	doc, err := snap.Discovery(s.metadata)
	if err != nil {
		return err
	}
	h.Set("ETag", doc.ETag)
	h.Set(echo.HeaderCacheControl, snap.CacheControl())
	if stale > 0 {
		markStale(h, stale)
	}
	if matches(c.Request().Header["If-None-Match"], doc.ETag) {
		return notModified(c)
	}
	h["Content-Type"] = typeJSON
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(doc.Body)))
	return respond(c, doc.Body)
}

// metadata is as much of OpenID Connect Discovery 1.0 section 3 and RFC 8414
// section 2 as is true of a platform that keeps keys and signs, but logs nobody
// in, and what the tenant says of the provider that does: its endpoints, among
// others. Response and subject types are required by both; unless the tenant
// knows better, what is said of them is what the tokens are, "sub" being whatever
// the tenant puts there. Members come in the order of their names, so that the
// entity tag holds.
func (s *server) metadata(snap *snapshot.Snapshot) (*snapshot.Document, error) {
	members := map[string]any{
		"response_types_supported": []string{"id_token"},
		"subject_types_supported":  []string{"public"},
	}
	if len(snap.Metadata) > 0 {
		var own map[string]json.RawMessage
		if err := json.Unmarshal(snap.Metadata, &own); err != nil {
			return nil, err
		}
		for name, value := range own {
			members[name] = value
		}
	}
	members["issuer"] = snap.Issuer
	members["jwks_uri"] = s.jwksURI(snap)
	// A retired algorithm is listed while a key of it is published, since its
	// tokens are to be accepted so long by those who take from here what they
	// accept.
	members["id_token_signing_alg_values_supported"] = snap.Algorithms()
	body, err := encoded(members)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSuffix(body, []byte("\n"))
	return &snapshot.Document{Body: body, ETag: entityTag(body)}, nil
}

// jwksURI is where the tenant's keys are: on its own domain if its issuer is
// there too, which then must lead here, else under the public URL, which does.
func (s *server) jwksURI(snap *snapshot.Snapshot) string {
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

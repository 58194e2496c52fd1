package httpapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/snapshot"
)

// serveDiscovery answers a tenant's discovery metadata, cached like its JWK
// Set.
func (s *publicServer) serveDiscovery(c echo.Context, find finder) error {
	h := c.Response().Header()
	setPublicHeaders(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	doc, err := snap.Discovery(s.discoveryDocument)
	if err != nil {
		return err
	}
	h.Set("ETag", doc.ETag)
	h.Set(echo.HeaderCacheControl, snap.CacheControl())
	if stale > 0 {
		markStale(h, stale)
	}
	if matchesETag(c.Request().Header["If-None-Match"], doc.ETag) {
		return notModified(c)
	}
	h["Content-Type"] = typeJSON
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(doc.Body)))
	return writeBody(c, doc.Body)
}

// discoveryDocument builds the metadata of OpenID Connect Discovery 1.0 section
// 3 and RFC 8414 section 2: the members that hold for a platform that keeps
// keys and signs but has no login, and the tenant's own members, such as the
// endpoints of its provider. Both standards require response and subject types;
// the defaults describe the tokens signed here and a tenant can override them.
// Members are sorted by name, so that the entity tag is stable.
func (s *publicServer) discoveryDocument(snap *snapshot.Snapshot) (*snapshot.Document, error) {
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
	members["signed_jwks_uri"] = strings.TrimSuffix(s.jwksURI(snap), "json") + "jwt" // OpenID Federation 1.0 section 5.2.1
	// A retired algorithm is listed while one of its keys is published, because
	// verifiers that take their list of algorithms from here must accept its tokens
	// until then.
	members["id_token_signing_alg_values_supported"] = snap.Algorithms()
	body, err := encodeJSON(members)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSuffix(body, []byte("\n"))
	return &snapshot.Document{Body: body, ETag: entityTag(body)}, nil
}

// NewDiscovery returns the function that renders the discovery documents of a service
// with this public URL, for [snapshot.Snapshot.Discovery].
func NewDiscovery(publicURL string) func(*snapshot.Snapshot) (*snapshot.Document, error) {
	s := &publicServer{cfg: &Config{PublicURL: publicURL}, ownHost: hostOf(publicURL)}
	return s.discoveryDocument
}

// jwksURI returns the URL of a tenant's JWK Set: on its own domain if its
// issuer uses that domain, otherwise under the public URL.
func (s *publicServer) jwksURI(snap *snapshot.Snapshot) string {
	const path = "/.well-known/jwks.json"
	if u, err := url.Parse(snap.Issuer); err == nil && snap.Domain != "" && domainOf(u.Host) == snap.Domain && snap.Domain != s.ownHost {
		return u.Scheme + "://" + u.Host + path
	}
	return s.cfg.PublicURL + "/t/" + snap.Slug + path
}

// GetOpenIDConfiguration answers a tenant's metadata.
func (s *publicServer) GetOpenIDConfiguration(c echo.Context, _ TenantPath, _ GetOpenIDConfigurationParams) error {
	return s.serveDiscovery(c, s.byPath)
}

// GetAuthorizationServerMetadata answers the same metadata (RFC 8414 section
// 3.1).
func (s *publicServer) GetAuthorizationServerMetadata(c echo.Context, _ TenantPath, _ GetAuthorizationServerMetadataParams) error {
	return s.serveDiscovery(c, s.byPath)
}

// GetPlatformOpenIDConfiguration answers the metadata of the tenant that has
// the domain, or of the platform.
func (s *publicServer) GetPlatformOpenIDConfiguration(c echo.Context, _ GetPlatformOpenIDConfigurationParams) error {
	return s.serveDiscovery(c, s.byHost)
}

// GetPlatformAuthorizationServerMetadata answers the same metadata.
func (s *publicServer) GetPlatformAuthorizationServerMetadata(c echo.Context, _ GetPlatformAuthorizationServerMetadataParams) error {
	return s.serveDiscovery(c, s.byHost)
}

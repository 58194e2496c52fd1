package tenant

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A tenant that moves in from another system may keep the path at which its verifiers
// fetch the JWK Set, and the response headers on which something relies.

// Bounds of the further response headers of a JWK Set.
const (
	maxHeaders     = 20
	maxHeaderName  = 64
	maxHeaderValue = 1000
	maxHeaderBytes = 4096 // of all names and values
)

// fixedPaths are the first segments of the paths that this service has itself, on a
// tenant's domain too, and .well-known, whose names are registered (RFC 8615).
var fixedPaths = []string{".well-known", "v1", "t", "healthz", "readyz", "metrics", "openapi.yaml", "docs", "console"}

// IsJWKSPath reports whether a path, without its leading slash, has the form of a
// further path of a JWK Set: segments of unreserved characters (RFC 3986 section 2.3)
// that neither climb nor vanish when a client normalizes the URL.
func IsJWKSPath(path string) bool {
	if path == "" || len(path) > 200 {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.Trim(segment, pathCharacters) != "" {
			return false
		}
	}
	return true
}

const pathCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

func validateJWKSPath(broken *fields, path string) {
	first, _, _ := strings.Cut(path, "/")
	switch {
	case path == "":
	case !IsJWKSPath(path):
		broken.add("jwks_path", "must be at most 200 characters without leading and final slash, each segment of letters, digits, -, ., _ and ~, as in auth/keys")
	case slices.ContainsFunc(fixedPaths, func(fixed string) bool { return strings.EqualFold(fixed, first) }):
		broken.add("jwks_path", "must not begin with %s, where this service has paths of its own", strings.ToLower(first))
	}
}

// ownedHeaders are the response headers that a tenant cannot set: Keyward sets them
// itself, they frame the message (RFC 9110 section 7.6.1), they decide what a browser
// or a cache may do with the set, or a proxy obeys them. A name that ends in a dash
// stands for all that begin with it.
var ownedHeaders = []string{
	// of the connection and the message
	"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "proxy-", "content-", "accept-ranges", "date", "server", "via", "allow",
	"location", "refresh", "retry-after", "alt-svc", "http2-settings",
	// of caches: they follow from the tenant's caching, on which the publish lead relies
	"age", "cache-control", "cdn-cache-control", "surrogate-control", "expires", "pragma", "etag", "last-modified", "vary", "warning",
	// of authentication and security
	"set-cookie", "set-cookie2", "www-authenticate", "authentication-info", "authorization", "access-control-", "cross-origin-", "strict-transport-security",
	"public-key-pins", "public-key-pins-report-only", "x-content-type-options", "x-frame-options", "x-xss-protection", "x-permitted-cross-domain-policies", "referrer-policy", "permissions-policy",
	"feature-policy", "clear-site-data", "origin-agent-cluster", "timing-allow-origin", "sec-", "expect-ct", "nel", "report-to", "reporting-endpoints", "document-policy",
	// by which a browser fetches, stores or reports something
	"link", "service-worker-allowed", "sourcemap", "x-sourcemap", "speculation-rules", "supports-loading-mode", "no-vary-search", "accept-ch", "critical-ch", "use-as-dictionary", "attribution-reporting-",
	"integrity-policy", "integrity-policy-report-only", "set-login", "shared-storage-write", "x-dns-prefetch-control", "x-ua-compatible",
	// of proxies that obey an answer, and of Keyward
	"x-accel-", "x-sendfile", "x-lighttpd-send-file", "x-litespeed-", "x-reproxy-url", "x-forwarded-", "x-real-ip", "x-request-id", "keyward-",
}

// isOwnedHeader compares names without case; http.CanonicalHeaderKey has more rules than
// RFC 9110 section 5.1.
func isOwnedHeader(name string) bool {
	lower := strings.ToLower(name)
	return slices.ContainsFunc(ownedHeaders, func(owned string) bool {
		return lower == owned || strings.HasSuffix(owned, "-") && strings.HasPrefix(lower, owned) ||
			strings.HasSuffix(lower, "-cache-control") // of one CDN or another (RFC 9213)
	})
}

func validateHeaders(broken *fields, headers map[string]string) {
	if len(headers) > maxHeaders {
		broken.add("jwks_headers", "must have at most %d members", maxHeaders)
		return
	}
	size, spelled := 0, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := memberField("jwks_headers", name)
		other, twice := spelled[strings.ToLower(name)]
		spelled[strings.ToLower(name)] = name
		switch value := headers[name]; {
		case name == "" || len(name) > maxHeaderName || strings.IndexFunc(name, notOfToken) >= 0:
			broken.add(at, "must have the name of a header field: 1 to %d letters, digits and hyphens", maxHeaderName)
		case isOwnedHeader(name):
			broken.add(at, "must not be set: this service, the connection or the security of browsers and caches depends on it")
		case twice:
			broken.add(at, "must not be there beside %s, which is the same header", other)
		case len(value) > maxHeaderValue || strings.Trim(value, " ") != value || value == "" || strings.IndexFunc(value, notPrintable) >= 0:
			broken.add(at, "must be 1 to %d printable ASCII characters, without spaces at its ends", maxHeaderValue)
		}
		size += len(name) + len(headers[name])
	}
	if size > maxHeaderBytes {
		broken.add("jwks_headers", "must have at most %d bytes of names and values", maxHeaderBytes)
	}
}

// notOfToken reports whether a character is not allowed in a name. RFC 9110 section
// 5.6.2 allows more, which some servers drop or take for another character.
func notOfToken(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// canonicalHeaders returns valid headers by their canonical names; nil if there are
// none.
func canonicalHeaders(headers map[string]string) map[string]string {
	if len(headers) == 0 {
		return nil
	}
	out := make(map[string]string, len(headers))
	for name, value := range headers {
		out[http.CanonicalHeaderKey(name)] = value
	}
	return out
}

// encodeHeaders returns the headers as they are stored, ordered by name; nil if there
// are none.
func encodeHeaders(headers map[string]string) []byte {
	if len(headers) == 0 {
		return nil
	}
	members := make(map[string]any, len(headers))
	for name, value := range headers {
		members[name] = value
	}
	return encodeCompact(members)
}

// ParseHeaders returns stored headers. The row's code has been checked, and it has none
// that is malformed.
func ParseHeaders(stored []byte) (headers map[string]string) {
	if len(stored) > 0 {
		_ = json.Unmarshal(stored, &headers)
	}
	return headers
}

// headerDetails returns the headers as details of an audit event.
func headerDetails(headers map[string]string) any {
	if len(headers) == 0 {
		return nil
	}
	return headers
}

package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// A mediaRange is one element of an Accept header (RFC 9110 section 12.5.1).
// Parameters other than q are ignored: no media type here has any.
type mediaRange struct {
	name string // in lower case, such as text/*
	q    float64
}

// parseAccept parses the lines of an Accept header. It returns nil if any type
// is accepted.
func parseAccept(lines []string) []mediaRange {
	var ranges []mediaRange
	for _, element := range strings.Split(strings.Join(lines, ","), ",") {
		name, params, _ := strings.Cut(element, ";")
		r := mediaRange{strings.ToLower(strings.TrimSpace(name)), 1}
		for _, param := range strings.Split(params, ";") {
			if key, value, _ := strings.Cut(param, "="); strings.EqualFold(strings.TrimSpace(key), "q") {
				r.q = parseQuality(strings.TrimSpace(value))
			}
		}
		if r.name != "" {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// parseQuality parses the value of a q parameter. A malformed value counts as
// 1, as if it were absent.
func parseQuality(s string) float64 {
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 1 // unreadable: as if it were not there
	}
	return q
}

// namedQuality returns the quality of a media type listed by its own name; ok
// reports whether it is listed.
func namedQuality(ranges []mediaRange, mediaType string) (q float64, ok bool) {
	for _, r := range ranges {
		if r.name == mediaType {
			return r.q, true
		}
	}
	return 0, false
}

// acceptedQuality returns the quality of a media type by the most specific
// range that matches it.
func acceptedQuality(ranges []mediaRange, mediaType string) float64 {
	if len(ranges) == 0 {
		return 1
	}
	kind, _, _ := strings.Cut(mediaType, "/")
	for _, name := range []string{mediaType, kind + "/*", "*/*"} {
		if q, ok := namedQuality(ranges, name); ok {
			return q
		}
	}
	return 0
}

// chooseType returns the offer with the highest quality, the first of several,
// or "" if none is accepted.
func chooseType(lines []string, offers ...string) (best string) {
	ranges, most := parseAccept(lines), 0.0
	for _, offer := range offers {
		if q := acceptedQuality(ranges, offer); q > most {
			best, most = offer, q
		}
	}
	return best
}

// acceptsGzip reports whether an Accept-Encoding allows gzip (RFC 9110 section
// 12.5.3). A request without that header gets no compression, since its client
// may not support any.
func acceptsGzip(lines []string) bool {
	ranges := parseAccept(lines)
	for _, name := range []string{"gzip", "*"} {
		if q, ok := namedQuality(ranges, name); ok {
			return q > 0
		}
	}
	return false
}

// prefersJWKSet reports whether an Accept lists application/jwk-set+json and
// does not prefer application/json to it, by name or by a wildcard. All other
// requests get application/json, whatever they accept: keys in an unexpected
// type serve a verifier better than 406.
func prefersJWKSet(lines []string) bool {
	const jwkSet = "application/jwk-set+json"
	if len(lines) == 0 || len(lines) == 1 && len(lines[0]) < len(jwkSet) {
		return false
	}
	ranges := parseAccept(lines)
	set, ok := namedQuality(ranges, jwkSet)
	if plain, both := namedQuality(ranges, "application/json"); !ok || set == 0 || both && plain > 0 {
		return false
	} else if both {
		return true
	}
	return set >= acceptedQuality(ranges, "application/json")
}

// matchesETag reports whether an If-None-Match lists the strong entity tag. The
// comparison is weak (RFC 9110 section 13.1.2), since caches may have weakened
// the tag; "*" matches any tag. If-Modified-Since is ignored: a key can be
// revoked within the second in which another one was published, and both states
// have the same Last-Modified.
func matchesETag(lines []string, etag string) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for tag, rest := nextTag(line); tag != ""; tag, rest = nextTag(rest) {
			if tag == etag {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the next entity tag off a list, without its W/ (RFC 9110 section
// 8.8.3). Commas inside quotes belong to the tag.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	list = strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(list, `"`) {
		return "", ""
	}
	end := strings.IndexByte(list[1:], '"')
	if end < 0 {
		return "", ""
	}
	return list[:end+2], list[end+2:]
}

// prefersRepresentation reports whether a Prefer header asks for
// return=representation (RFC 7240 section 4.2). Of several preferences of one
// name the first counts (section 2); parameters are ignored.
func prefersRepresentation(lines []string) bool {
	for _, preference := range strings.Split(strings.Join(lines, ","), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if strings.EqualFold(strings.TrimSpace(name), "return") {
			return strings.Trim(strings.TrimSpace(value), `"`) == "representation"
		}
	}
	return false
}

// entityTag returns a strong entity tag for a body (RFC 9110 section 8.8.3).
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

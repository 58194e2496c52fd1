package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// A mediaRange is one element of an Accept header (RFC 9110 section 12.5.1).
// Parameters other than q are ignored: nothing here has any.
type mediaRange struct {
	name string // in lower case, such as text/*
	q    float64
}

// parseAccept reads what a client accepts; nil means anything.
func parseAccept(lines []string) []mediaRange {
	var ranges []mediaRange
	for _, element := range strings.Split(strings.Join(lines, ","), ",") {
		name, params, _ := strings.Cut(element, ";")
		r := mediaRange{strings.ToLower(strings.TrimSpace(name)), 1}
		for _, param := range strings.Split(params, ";") {
			if key, value, _ := strings.Cut(param, "="); strings.EqualFold(strings.TrimSpace(key), "q") {
				r.q = quality(strings.TrimSpace(value))
			}
		}
		if r.name != "" {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

func quality(s string) float64 {
	q, err := strconv.ParseFloat(s, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 1 // unreadable: as if it were not there
	}
	return q
}

// named is the quality of a media type by its own name; ok says if it is named.
func named(ranges []mediaRange, mediaType string) (q float64, ok bool) {
	for _, r := range ranges {
		if r.name == mediaType {
			return r.q, true
		}
	}
	return 0, false
}

// acceptedQuality is the quality of a media type by the range that fits it best.
func acceptedQuality(ranges []mediaRange, mediaType string) float64 {
	if len(ranges) == 0 {
		return 1
	}
	kind, _, _ := strings.Cut(mediaType, "/")
	for _, name := range []string{mediaType, kind + "/*", "*/*"} {
		if q, ok := named(ranges, name); ok {
			return q
		}
	}
	return 0
}

// negotiate picks the offer that the client likes best, the first of several;
// "" if it accepts none.
func negotiate(lines []string, offers ...string) (best string) {
	ranges, most := parseAccept(lines), 0.0
	for _, offer := range offers {
		if q := acceptedQuality(ranges, offer); q > most {
			best, most = offer, q
		}
	}
	return best
}

// acceptsGzip says whether an Accept-Encoding allows gzip (RFC 9110 section
// 12.5.3). Without one, nothing is compressed: who does not ask may not know how
// to open it.
func acceptsGzip(lines []string) bool {
	ranges := parseAccept(lines)
	for _, name := range []string{"gzip", "*"} {
		if q, ok := named(ranges, name); ok {
			return q > 0
		}
	}
	return false
}

// prefersJWKSet says whether an Accept names application/jwk-set+json, and
// application/json neither by name nor by a wildcard that it prefers. Everybody
// else gets application/json, whatever they accept: a verifier that asks for
// something odd is better off with keys than with 406.
func prefersJWKSet(lines []string) bool {
	const jwkSet = "application/jwk-set+json"
	if len(lines) == 0 || len(lines) == 1 && len(lines[0]) < len(jwkSet) {
		return false
	}
	ranges := parseAccept(lines)
	set, ok := named(ranges, jwkSet)
	if plain, both := named(ranges, "application/json"); !ok || set == 0 || both && plain > 0 {
		return false
	} else if both {
		return true
	}
	return set >= acceptedQuality(ranges, "application/json")
}

// matches says whether an If-None-Match names the entity tag, which is strong.
// Tags are compared weakly (RFC 9110 section 13.1.2), since caches on the way
// may have made it a weak one; "*" matches whatever there is.
//
// If-Modified-Since is not looked at: a key can be revoked within the second
// in which another was published, and both states have the same Last-Modified.
func matches(lines []string, etag string) bool {
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

// nextTag cuts the next entity tag off a list, without its W/ (RFC 9110
// section 8.8.3); commas inside quotes belong to a tag.
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

// prefersRepresentation reads RFC 7240 section 4.2. Of several preferences of
// one name the first counts (section 2); parameters are ignored.
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

// entityTag is a strong validator of bytes (RFC 9110 section 8.8.3).
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

package jwks

import (
	"encoding/base64"
	"strings"
)

// A compact holds the parts of a JWS in the compact form (RFC 7515 section 7.1).
// Members that could lead to another key than the kid's (jwk, jku, x5u, x5c: RFC
// 8725 section 3.10) are not even read.
type compact struct {
	alg, kid, typ string
	input         string // what is signed
	payload       string
	signature     []byte
}

// base64url in the one way there is to write it: no padding, no stray bits at
// the end. Line breaks, which package base64 skips, are refused before.
var base64url = base64.RawURLEncoding.Strict()

// parseCompact splits a token into its parts. It checks the header's form, and
// refuses every token that has critical extensions (RFC 7515 section 4.1.11), as
// none is understood. "b64" is no exception: it has no place in a JWT (RFC 7797
// section 7).
func parseCompact(raw string) (c compact, ok bool) {
	first := strings.IndexByte(raw, '.')
	last := strings.LastIndexByte(raw, '.')
	if first < 1 || first == last || strings.IndexByte(raw[first+1:last], '.') >= 0 ||
		strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return c, false
	}
	header, ok := decodeSegment(raw[:first])
	if !ok || !c.readHeader(header) {
		return c, false
	}
	if c.payload, ok = decodeSegment(raw[first+1 : last]); !ok {
		return c, false
	}
	c.signature = make([]byte, base64url.DecodedLen(len(raw)-last-1))
	_, err := base64url.Decode(c.signature, []byte(raw[last+1:]))
	c.input = raw[:last]
	return c, err == nil
}

func decodeSegment(segment string) (string, bool) {
	var room [1 << 10]byte
	text := room[:]
	if n := base64url.DecodedLen(len(segment)); n > len(room) {
		text = make([]byte, n)
	}
	n, err := base64url.Decode(text, []byte(segment))
	return string(text[:n]), err == nil
}

func (c *compact) readHeader(header string) bool {
	fine := true
	whole := eachMember(header, func(name, value string) {
		switch name {
		case "alg":
			c.alg, fine = unquoteIf(fine, value)
		case "kid":
			c.kid, fine = unquoteIf(fine, value)
		case "typ":
			c.typ, fine = unquoteIf(fine, value)
		case "crit":
			fine = false
		case "b64":
			fine = fine && value == "true"
		}
	})
	return whole && fine && c.alg != ""
}

// unquoteIf reads a string, if all was fine so far.
func unquoteIf(fine bool, value string) (string, bool) {
	s, ok := unquoteString(value)
	return s, fine && ok
}

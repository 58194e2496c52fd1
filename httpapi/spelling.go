package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// spelled makes a handler see one spelling of a path: an unreserved character
// means the same escaped or not (RFC 9110 section 4.2.3, RFC 3986 section
// 6.2.2.2). Any other escape stays, and there is but one pass, so that %2F is no
// slash and %2561 no letter; dots that appear climb nowhere.
func spelled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, respelled(r)) })
}

// respelled is the request itself unless its path has another spelling.
func respelled(r *http.Request) *http.Request {
	if r.URL.RawPath == "" {
		return r
	}
	path := withoutNeedlessEscapes(r.URL.RawPath)
	if path == r.URL.RawPath {
		return r
	}
	u := *r.URL
	u.RawPath = path
	if u.Path == path {
		u.RawPath = ""
	}
	plain := *r
	plain.URL = &u
	return &plain
}

func withoutNeedlessEscapes(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := url.PathUnescape(path[i : i+3]); err == nil && isUnreserved(c[0]) {
				out.WriteByte(c[0])
				i += 2
				continue
			}
		}
		out.WriteByte(path[i])
	}
	return out.String()
}

// isUnreserved knows the characters of RFC 3986 section 2.3.
func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

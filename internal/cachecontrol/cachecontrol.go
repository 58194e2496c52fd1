// Package cachecontrol reads the HTTP field Cache-Control (RFC 9111 section 5.2) as Keyward
// writes it: one field without quoted values. Package jwks reads what any issuer writes. It
// is internal to Keyward: no compatibility promise.
package cachecontrol

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Directive returns the time of a directive, 0 if it is absent or no number.
func Directive(header http.Header, name string) time.Duration {
	for part := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(key, name) {
			seconds, _ := strconv.ParseInt(value, 10, 32) // not a number: 0
			return max(0, time.Duration(seconds)*time.Second)
		}
	}
	return 0
}

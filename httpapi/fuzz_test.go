package httpapi

import (
	"strings"
	"testing"
)

// Whatever a client sends as If-None-Match or Accept, an answer comes of it;
// and a tag that is not in the list is never found there.
func FuzzPublicHeaders(f *testing.F) {
	for _, seed := range []string{`"a", W/"b"`, `*`, `"a,b`, `application/jwk-set+json;q=0.5, */*`, `;;q=,,`, `W/W/"a"`, "application/jwk-set+json"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		const etag = `"0123456789"`
		if matchesETag([]string{line}, etag) && !strings.Contains(line, etag) && strings.TrimSpace(line) != "*" {
			t.Errorf("%q matches", line)
		}
		if prefersJWKSet([]string{line}) && !strings.Contains(strings.ToLower(line), "application/jwk-set+json") {
			t.Errorf("%q prefers a JWK Set", line)
		}
		if best := chooseType([]string{line}, "application/json", mimePEM); best != "" && best != "application/json" && best != mimePEM {
			t.Errorf("%q: %s", line, best)
		}
	})
}

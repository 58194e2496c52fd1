package main

import (
	"encoding/json"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/loopback"
)

// Limits for warnings.
const (
	certificateWarning = 21 * 24 * time.Hour // remaining lifetime of a certificate
	maxAgeWarning      = 24 * time.Hour      // max-age
	dateDrift          = time.Minute
)

// examineAnswer checks the response headers of a JWK Set.
func examineAnswer(p fetchedPage) (findings []finding) {
	media, _, _ := mime.ParseMediaType(p.header.Get("Content-Type"))
	if media != "application/json" && media != "application/jwk-set+json" {
		findings = append(findings, newFinding(failure, "content type", "is %q: some verifiers reject the set; a proxy may have replaced the header", media))
	}
	findings = append(findings, examineCaching(p), examineTransport(p))
	if p.header.Get("Access-Control-Allow-Origin") != "*" {
		findings = append(findings, newFinding(warning, "CORS", "scripts of other origins cannot read the set: make the proxy forward Access-Control-Allow-Origin"))
	}
	if at, err := time.Parse(time.RFC1123, p.header.Get("Date")); err == nil && at.Sub(p.at).Abs() > dateDrift {
		findings = append(findings, newFinding(warning, "clock", "the server's clock and this one differ by %v: tokens may be rejected as not yet valid or expired; run NTP", at.Sub(p.at).Round(time.Second)))
	}
	return findings
}

// examineCaching checks Cache-Control (RFC 9111 section 5.2.2).
func examineCaching(p fetchedPage) finding {
	control := p.header.Get("Cache-Control")
	directives := strings.FieldsFunc(strings.ToLower(control), func(r rune) bool { return r == ',' || r == ' ' })
	age := -1
	for _, d := range directives {
		if value, is := strings.CutPrefix(d, "max-age="); is {
			age, _ = strconv.Atoi(value)
		}
	}
	switch {
	case slices.Contains(directives, "no-store") || slices.Contains(directives, "no-cache") || age == 0:
		return newFinding(warning, "caching", "Cache-Control is %q: some verifiers (Hasura) then fetch every second; give jwks_max_age_seconds a positive value, or fix the proxy", control)
	case age < 0:
		return newFinding(warning, "caching", "there is no max-age (Cache-Control is %q): verifiers choose how long they cache keys; a proxy may have removed it", control)
	case time.Duration(age)*time.Second > maxAgeWarning:
		return newFinding(warning, "caching", "max-age is %d s: a revoked key is trusted for that long; lower jwks_max_age_seconds", age)
	}
	return newFinding(fine, "caching", "%s", control)
}

// examineTransport checks scheme, certificate and response time.
func examineTransport(p fetchedPage) finding {
	u, err := url.Parse(p.url)
	switch {
	case err != nil:
		return newFinding(failure, "transport", "%q is no URL", p.url)
	case p.ends.IsZero() && !loopback.IsHost(u.Hostname()):
		return newFinding(failure, "transport", "%s is not https: an attacker on the network can replace the keys", p.url)
	case !p.ends.IsZero() && p.ends.Before(p.at.Add(certificateWarning)):
		return newFinding(warning, "transport", "the certificate ends on %s: renew it", p.ends.UTC().Format(time.DateOnly))
	case p.took > verifierTimeout/5:
		return newFinding(warning, "transport", "the answer took %v; jose gives up after %v", p.took.Round(time.Millisecond), verifierTimeout)
	}
	return newFinding(fine, "transport", "answered in %v", p.took.Round(time.Millisecond))
}

// metadata has the members of a discovery document that verifiers use.
type metadata struct {
	Issuer  string   `json:"issuer"`
	JWKSURI string   `json:"jwks_uri"`
	Algs    []string `json:"id_token_signing_alg_values_supported"`
}

// examineMetadata compares a discovery document with the requested issuer
// (OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3).
func examineMetadata(p fetchedPage, issuer string) (m metadata, f finding) {
	switch err := json.Unmarshal(p.body, &m); {
	case p.status >= 300 && p.status < 400:
		f = newFinding(failure, "discovery", "%s is redirected to %q, which many verifiers do not follow", p.url, p.header.Get("Location"))
	case p.status != 200:
		f = newFinding(failure, "discovery", "%s answers %d: make the proxy forward this path", p.url, p.status)
	case err != nil:
		f = newFinding(failure, "discovery", "%s does not answer a JSON object: is another service there?", p.url)
	case m.Issuer != issuer:
		f = newFinding(failure, "discovery", "%s says that the issuer is %q instead of %q: every verifier refuses that", p.url, m.Issuer, issuer)
	case m.JWKSURI == "":
		f = newFinding(failure, "discovery", "%s has no jwks_uri", p.url)
	default:
		f = newFinding(fine, "discovery", "%s", p.url)
	}
	return m, f
}

// examineAlgorithms compares the algorithms of the discovery document with the
// keys of the set.
func examineAlgorithms(m metadata, keys []jwk) (findings []finding) {
	for _, alg := range m.Algs {
		if !slices.ContainsFunc(keys, func(k jwk) bool { return k.text("alg") == alg }) {
			findings = append(findings, newFinding(failure, "algorithms", "discovery names %s, but no key has it: rotate, or retire the policy", alg))
		}
	}
	if !slices.Contains(m.Algs, "RS256") {
		findings = append(findings, newFinding(warning, "algorithms", "discovery names %s and not RS256, required of an OpenID provider by OpenID Connect Discovery 1.0 section 3; acceptable for access tokens, and for clients that support the others", strings.Join(m.Algs, ", ")))
	}
	return findings
}

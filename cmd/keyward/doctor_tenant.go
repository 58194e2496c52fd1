package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

// publicExamination checks the public documents of a tenant as verifiers fetch
// them. It needs neither database nor credential.
type publicExamination struct {
	report
	visitor *verifierClient
}

// examineTenant checks a tenant below the public URL.
func (c *doctorCmd) examineTenant(ctx context.Context, p *program, r report) error {
	e := &publicExamination{report: r, visitor: newVisitor()}
	base := p.cfg.publicURL
	if base == "" {
		base = "http://" + p.cfg.addr
	}
	e.checkTenant(ctx, base, c.Tenant)
	if c.APIKey != "" {
		e.checkAdoption(ctx, remoteFlags{URL: c.URL, APIKey: c.APIKey}, c.Tenant)
	}
	return e.conclude()
}

// checkTenant fetches the discovery document by slug, then checks everything
// that it leads to.
func (e *publicExamination) checkTenant(ctx context.Context, base, slug string) {
	path := base + "/t/" + slug
	first, err := e.visitor.get(ctx, http.MethodGet, path+"/.well-known/openid-configuration")
	if err != nil {
		e.addFinding(failure, "public URL", "%v: is it running, and is KEYWARD_PUBLIC_URL what verifiers use?", err)
		return
	}
	if first.status == http.StatusNotFound {
		e.addFinding(failure, "tenant", "%s answers 404: there is no tenant with this slug or id, or the proxy does not forward /t/", first.url)
		return
	}
	m, _ := examineMetadata(first, "")
	if m.Issuer == "" {
		_, f := examineMetadata(first, path)
		e.add(f)
		return
	}
	if m.Issuer != path {
		e.addFinding(fine, "issuer", "%s, the tenant's own", m.Issuer)
	}
	e.checkDiscovery(ctx, m.Issuer)
	e.checkUnknownTenant(ctx, base)
	e.checkKeySet(ctx, m)
}

// checkDiscovery fetches the metadata from both locations derived from the
// issuer.
func (e *publicExamination) checkDiscovery(ctx context.Context, issuer string) {
	appended, inserted, err := metadataURLs(issuer)
	if err != nil {
		e.addFinding(failure, "issuer", "%v", err)
		return
	}
	for _, at := range []string{appended, inserted} {
		p, err := e.visitor.get(ctx, http.MethodGet, at)
		if err != nil {
			e.addFinding(failure, "discovery", "%v: verifiers cannot discover the keys from the issuer", err)
			continue
		}
		_, f := examineMetadata(p, issuer)
		e.add(f)
	}
}

// checkUnknownTenant checks that an unknown tenant is answered with 404.
func (e *publicExamination) checkUnknownTenant(ctx context.Context, base string) {
	p, err := e.visitor.get(ctx, http.MethodGet, base+"/t/"+unknownSlug()+"/.well-known/jwks.json")
	switch {
	case err != nil:
		e.addFinding(failure, "public URL", "%v", err)
	case p.status == http.StatusTooManyRequests:
		e.addFinding(warning, "rate limit", "this machine exceeds KEYWARD_RATE_LIMIT_ADDRESS")
	case p.status != http.StatusNotFound:
		e.addFinding(failure, "public URL", "%s answers %d instead of 404: does a proxy answer for Keyward?", p.url, p.status)
	}
}

// checkKeySet fetches the JWK Set and checks it, its headers and revalidation.
func (e *publicExamination) checkKeySet(ctx context.Context, m metadata) {
	p, err := e.visitor.get(ctx, http.MethodGet, m.JWKSURI)
	switch {
	case err != nil:
		e.addFinding(failure, "JWK Set", "%v: no verifier can fetch it", err)
		return
	case p.status >= 300 && p.status < 400:
		e.addFinding(failure, "JWK Set", "%s is redirected to %q, which many verifiers do not follow", p.url, p.header.Get("Location"))
		return
	case p.status != http.StatusOK:
		e.addFinding(failure, "JWK Set", "%s answers %d", p.url, p.status)
		return
	}
	keys, findings := examineSet(p.body)
	e.add(findings...)
	e.add(examineAlgorithms(m, keys)...)
	e.add(examineAnswer(p)...)
	e.checkValidators(ctx, p)
}

// namedStragglers is how many verifiers without a key a finding names.
const namedStragglers = 20

// checkAdoption names the verifiers that have not fetched the tenant's standby keys.
func (e *publicExamination) checkAdoption(ctx context.Context, from remoteFlags, tenant string) {
	api, err := from.openClient()
	if err != nil {
		e.addFinding(failure, "adoption", "%v", err)
		return
	}
	standby := client.KeyStateStandby
	for k, err := range api.Keys(ctx, tenant, &client.ListKeysParams{State: &standby}) {
		var a *client.KeyAdoption
		if err == nil {
			a, err = api.GetKeyAdoption(ctx, tenant, k.KID)
		}
		if err != nil {
			e.addFinding(failure, "adoption", "%v", err)
			return
		}
		e.add(examineAdoption(k, *a))
	}
}

// examineAdoption reports which verifiers lack a standby key.
func examineAdoption(k client.Key, a client.KeyAdoption) finding {
	if len(a.Stragglers) == 0 {
		return newFinding(fine, "adoption", "%d of %s %s the standby key %s (%s)", a.Adopted, plural.Count(a.Fetchers, "verifier"), plural.Verb(a.Adopted, "has", "have"), k.KID, k.Alg)
	}
	var names []string
	for _, s := range a.Stragglers[:min(len(a.Stragglers), namedStragglers)] {
		names = append(names, s.Client+" (last seen "+formatTime(s.LastSeen)+")")
	}
	more := ""
	if n := len(a.Stragglers) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return newFinding(warning, "adoption", "%d of %s %s the standby key %s (%s); a rotation with min_adoption waits for: %s%s",
		a.Adopted, plural.Count(a.Fetchers, "verifier"), plural.Verb(a.Adopted, "has", "have"), k.KID, k.Alg, strings.Join(names, ", "), more)
}

// checkValidators sends a conditional request (RFC 9110 section 13.1.2) and a
// HEAD.
func (e *publicExamination) checkValidators(ctx context.Context, first fetchedPage) {
	tag := first.header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		e.addFinding(warning, "validator", "the ETag %q is not a strong one: every fetch transfers the whole set; a proxy that compresses may weaken it", tag)
		return
	}
	p, err := e.visitor.get(ctx, http.MethodGet, first.url, "If-None-Match", tag)
	if err != nil || p.status != http.StatusNotModified {
		e.addFinding(warning, "validator", "If-None-Match is answered %d instead of 304: every fetch transfers the whole set", p.status)
		return
	}
	p, err = e.visitor.get(ctx, http.MethodHead, first.url)
	if err != nil || p.status != http.StatusOK || p.header.Get("ETag") != tag {
		e.addFinding(warning, "validator", "HEAD is answered %d with ETag %q: make the proxy forward it", p.status, p.header.Get("ETag"))
		return
	}
	e.addFinding(fine, "validator", "%s; If-None-Match is answered with 304", tag)
}

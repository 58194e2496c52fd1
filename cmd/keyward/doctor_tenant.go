package main

import (
	"context"
	"net/http"
	"strings"
)

// publicExamination fetches what verifiers fetch, and says what they would make
// of it. It needs neither database nor credential.
type publicExamination struct {
	report
	visitor *visitor
}

// examineTenant looks at a tenant of the public URL.
func (c *doctorCmd) examineTenant(ctx context.Context, p *program) error {
	e := &publicExamination{report: report{w: p.stdout}, visitor: newVisitor()}
	base := p.cfg.publicURL
	if base == "" {
		base = "http://" + p.cfg.addr
	}
	e.tenant(ctx, base, c.Tenant)
	if e.failed {
		return errTold
	}
	return nil
}

func (e *publicExamination) tell(findings ...finding) {
	for _, f := range findings {
		e.say(f.verdict, f.what, "%s", f.text)
	}
}

// tenant begins where anybody who knows the public URL and the slug begins.
func (e *publicExamination) tenant(ctx context.Context, base, slug string) {
	path := base + "/t/" + slug
	first, err := e.visitor.get(ctx, http.MethodGet, path+"/.well-known/openid-configuration")
	if err != nil {
		e.say(failure, "public URL", "%v: is it running, and is KEYWARD_PUBLIC_URL what verifiers use?", err)
		return
	}
	if first.status == http.StatusNotFound {
		e.say(failure, "tenant", "%s answers 404: there is no tenant of this slug or id, or the proxy does not pass /t/ on", first.url)
		return
	}
	m, _ := examineMetadata(first, "")
	if m.Issuer == "" {
		_, f := examineMetadata(first, path)
		e.tell(f)
		return
	}
	if m.Issuer != path {
		e.say(fine, "issuer", "%s, the tenant's own", m.Issuer)
	}
	e.discovery(ctx, m.Issuer)
	e.unknown(ctx, base)
	e.set(ctx, m)
}

// discovery looks for the metadata where the issuer's name sends verifiers.
func (e *publicExamination) discovery(ctx context.Context, issuer string) {
	appended, inserted, err := metadataURLs(issuer)
	if err != nil {
		e.say(failure, "issuer", "%v", err)
		return
	}
	for _, at := range []string{appended, inserted} {
		p, err := e.visitor.get(ctx, http.MethodGet, at)
		if err != nil {
			e.say(failure, "discovery", "%v: verifiers that know only the issuer find no keys", err)
			continue
		}
		_, f := examineMetadata(p, issuer)
		e.tell(f)
	}
}

// unknown proves that there are no keys where there is no tenant.
func (e *publicExamination) unknown(ctx context.Context, base string) {
	p, err := e.visitor.get(ctx, http.MethodGet, base+"/t/"+nobody()+"/.well-known/jwks.json")
	switch {
	case err != nil:
		e.say(failure, "public URL", "%v", err)
	case p.status == http.StatusTooManyRequests:
		e.say(warning, "rate limit", "this machine asks too often: KEYWARD_RATE_LIMIT_ADDRESS")
	case p.status != http.StatusNotFound:
		e.say(failure, "public URL", "%s answers %d instead of 404: does a proxy answer for Keyward?", p.url, p.status)
	}
}

// set fetches the JWK Set as a verifier would, and as its cache would again.
func (e *publicExamination) set(ctx context.Context, m metadata) {
	p, err := e.visitor.get(ctx, http.MethodGet, m.JWKSURI)
	switch {
	case err != nil:
		e.say(failure, "JWK Set", "%v: no verifier can fetch it", err)
		return
	case p.status >= 300 && p.status < 400:
		e.say(failure, "JWK Set", "%s is redirected to %q, which many verifiers do not follow", p.url, p.header.Get("Location"))
		return
	case p.status != http.StatusOK:
		e.say(failure, "JWK Set", "%s answers %d", p.url, p.status)
		return
	}
	keys, findings := examineSet(p.body)
	e.tell(findings...)
	e.tell(examineAlgorithms(m, keys)...)
	e.tell(examineAnswer(p)...)
	e.again(ctx, p)
}

// again asks conditionally (RFC 9110 section 13.1.2), and for the headers.
func (e *publicExamination) again(ctx context.Context, first visited) {
	tag := first.header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		e.say(warning, "validator", "the ETag is %q and not a strong one: every fetch transfers the whole set; a proxy that compresses may weaken it", tag)
		return
	}
	p, err := e.visitor.get(ctx, http.MethodGet, first.url, "If-None-Match", tag)
	if err != nil || p.status != http.StatusNotModified {
		e.say(warning, "validator", "If-None-Match is answered %d instead of 304: every fetch transfers the whole set", p.status)
		return
	}
	p, err = e.visitor.get(ctx, http.MethodHead, first.url)
	if err != nil || p.status != http.StatusOK || p.header.Get("ETag") != tag {
		e.say(warning, "validator", "HEAD is answered %d with ETag %q: let the proxy pass it on", p.status, p.header.Get("ETag"))
		return
	}
	e.say(fine, "validator", "%s, and 304 for those who have it", tag)
}

package httpapi

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/tenant"
)

// Every page fits a phone without anything that moves sideways but tables and the timeline in
// their frames, and axe-core finds nothing on it, dark and light.
func TestConsoleFitsAPhone(t *testing.T) {
	w := newShownWorld(t)
	b := browsertest.New(t)
	pages := w.everyPage()
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"}`).ok(200)
	p := w.browse(b, w.root)
	p.View(320, 700, true)
	for _, path := range pages {
		p.Goto(w.url + path)
		if wide := p.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
			t.Errorf("%s is wider than 320 pixels: %s", path, p.Eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, .tl, .tabs, pre")).map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`))
		}
		if hidden := p.Eval(`[...document.querySelectorAll(".tabs [aria-current]")].some((e) => e.getBoundingClientRect().right > innerWidth)`); hidden != "false" {
			t.Errorf("%s: the tab of the page is out of sight", path)
		}
		name := strings.Trim(pictureName.ReplaceAllString(strings.TrimPrefix(path, "/console/"), "-"), "-")
		shoot(t, p, "page-"+name+"-narrow-dark")
		checkAccessible(t, p, path+", dark and narrow")
		p.View(1200, 800, false)
		shoot(t, p, "page-"+name)
		if plain := p.Eval(`[...document.querySelectorAll(".btn-small, .btn-danger")].filter((e) => {
			const style = getComputedStyle(e), danger = e.classList.contains("btn-danger") && !e.classList.contains("btn-main");
			return e.classList.contains("btn-small") && e.offsetHeight > 29 || danger && style.color !== style.borderTopColor;
		}).map((e) => e.outerHTML).join()`); plain != "" {
			t.Errorf("%s: buttons that do not look as they are meant to: %s", path, plain)
		}
		checkAccessible(t, p, path)
		p.View(320, 700, true)
	}
	p.Goto("about:blank")
}

// pictureName matches what is not of the name of a picture: identifiers too.
var pictureName = regexp.MustCompile(`(?i)kid=.*|[0-9a-f]{8}-[0-9a-f-]{27}|[^a-z0-9]+`)

var pageLink = regexp.MustCompile(`href="(/console[^"#]*)"`)

// Nobody sees a link to a page that refuses, however they got to it, and nobody of a tenant
// comes to another one's.
func TestConsoleLinksAreAllowed(t *testing.T) {
	w := newWorld(t)
	w.everyPage() // with a webhook and a domain to be led to
	acme := scalar[uuid.UUID](w, `SELECT id FROM tenants WHERE slug = 'acme'`)
	w.tenant("other")
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended"}`).ok(200) // what is wrong has links of its own
	for _, role := range []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor, tenant.TenantSigner} {
		s := w.signedIn(w.key(role, &acme))
		kinds, queue := map[string]bool{}, []string{"/console"}
		for len(queue) > 0 {
			path := queue[0]
			queue = queue[1:]
			p := s.get(path)
			if p.Status == http.StatusForbidden || p.Status == http.StatusNotFound || p.Status >= 500 {
				t.Errorf("%s: a link leads to %s, which answers %d", role, path, p.Status)
			}
			if !role.OfPlatform() && strings.Contains(p.Body, "/console/tenants/other") {
				t.Errorf("%s: %s leads to another tenant", role, path)
			}
			for _, m := range pageLink.FindAllStringSubmatch(p.Body, -1) {
				link := html.UnescapeString(m[1])
				if strings.Contains(link, "/static/") || strings.Contains(link, "sign-") {
					continue
				}
				if kind := linkKind(link); !kinds[kind] {
					kinds[kind] = true
					queue = append(queue, link)
				}
			}
		}
		if least := map[tenant.Role]int{tenant.PlatformAdmin: 40, tenant.PlatformAuditor: 20, tenant.TenantAdmin: 25, tenant.TenantAuditor: 12, tenant.TenantSigner: 4}[role]; len(kinds) < least {
			t.Errorf("%s: only %d pages were reached", role, len(kinds))
		}
	}
}

// linkKind is a link without what tells pages of one kind apart.
func linkKind(link string) string {
	link, query, _ := strings.Cut(link, "?")
	link = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).ReplaceAllString(link, "ID")
	link = regexp.MustCompile(`/policies/[^/]+`).ReplaceAllString(link, "/policies/ALG")
	if strings.HasPrefix(link, "/console/tenants/platform") || strings.HasPrefix(link, "/console/tenants/other") {
		link = "/console/tenants/another" // one of its pages is enough
	}
	var names []string
	for _, pair := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	return link + "?" + strings.Join(names, "&")
}

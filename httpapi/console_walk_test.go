package httpapi

import (
	"html"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/tenant"
)

// everyPage are addresses of every page of the console, for a tenant acme.
func (w *world) everyPage() []string {
	w.t.Helper()
	var hook Webhook
	w.do("POST", "/v1/tenants/acme/webhooks", w.root, `{"url":"https://hooks.example.com/x"}`).ok(201, &hook)
	var ofAll Webhook
	w.do("POST", "/v1/webhooks", w.root, `{"url":"https://hooks.example.com/all"}`).ok(201, &ofAll)
	w.do("POST", "/v1/tenants/acme/domains", w.root, `{"domain":"a-rather-long-name-of-a-host.identity.acme.example"}`).ok(201)
	kid := w.keys("acme", KeyStateActive)[0].KID
	pages := []string{
		"/console", "/console/account", "/console/tenants", "/console/tenants/new", "/console/history", "/console/platform", "/console/incident?q=acme",
		"/console/platform/api-keys", "/console/platform/webhooks", "/console/platform/webhooks/" + ofAll.ID.String(),
	}
	for _, path := range []string{
		"", "/keys", "/key?kid=" + kid, "/policies", "/policies/ES256", "/policies/EdDSA", "/verifiers?for=spring", "/settings", "/history?verify=1", "/approvals",
		"/domains", "/webhooks", "/webhooks/" + hook.ID.String(), "/api-keys", "/act/rotate", "/act/revoke?kid=" + kid, "/act/revoke-all", "/act/suspend", "/act/resume",
		"/act/purge", "/act/delete", "/act/import",
	} {
		pages = append(pages, "/console/tenants/acme"+path)
	}
	return pages
}

// everyPage has an address for each route of the console that is a page.
func TestEveryPageOfTheConsoleIsTested(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	pages := w.everyPage()
	source, err := os.ReadFile("console/console.go")
	if err != nil {
		t.Fatal(err)
	}
	routes := regexp.MustCompile(`c\.page\("GET "?\+?(prefix|t)?\+?"?([^",]*)"?, `).FindAllStringSubmatch(string(source), -1)
	if len(routes) < 25 {
		t.Fatalf("only %d routes were found", len(routes))
	}
	for _, m := range routes {
		path := m[2]
		if m[1] != "" {
			path = "/console/tenants/acme" + path
		}
		if strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/export") || strings.HasSuffix(path, "/checkpoint") {
			continue // no pages
		}
		pattern := regexp.MustCompile("^" + regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(strings.TrimSuffix(path, "/{$}"), `[^/?]+`) + `(\?.*)?$`)
		if !slices.ContainsFunc(pages, pattern.MatchString) {
			t.Errorf("no address for %s", path)
		}
	}
}

// Every page fits a phone, in both colours, without anything that moves sideways but tables and
// the timeline in their frames.
func TestConsoleFitsAPhone(t *testing.T) {
	w := newShownWorld(t)
	b := browsertest.New(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"}`).ok(200)
	pages := w.everyPage()
	p := w.browse(b, w.root)
	p.View(320, 700, true)
	for _, path := range pages {
		p.Goto(w.url + path)
		if wide := p.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
			t.Errorf("%s is wider than 320 pixels: %s", path, p.Eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, .tl, .tabs, pre")).map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`))
		}
	}
	p.Goto("about:blank")
}

var pageLink = regexp.MustCompile(`href="(/console[^"#]*)"`)

// Nobody sees a link to a page that refuses, however they got to it, and nobody of a tenant
// comes to another one's.
func TestConsoleLinksAreAllowed(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	w.everyPage() // with a webhook and a domain to be led to
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	for _, role := range []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor, tenant.TenantSigner} {
		s := w.signedIn(w.key(role, &acme.ID))
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

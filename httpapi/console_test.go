package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

// Every page of every role answers, is small, and asks nobody else for anything.
func TestConsolePages(t *testing.T) {
	w := newWorld(t)
	pages := w.everyPage()
	acme := scalar[uuid.UUID](w, `SELECT id FROM tenants WHERE slug = 'acme'`)
	for _, role := range []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor, tenant.TenantSigner} {
		s := w.signedIn(w.key(role, &acme))
		for _, path := range pages {
			p := s.get(path)
			if p.Status != http.StatusOK && p.Status != http.StatusForbidden || role == tenant.PlatformAdmin && p.Status != http.StatusOK {
				t.Errorf("%s: %s: %d\n%s", role, path, p.Status, p.Body)
			}
			if n := len(p.Body); n > 100_000 {
				t.Errorf("%s: %d bytes", path, n)
			}
			p.has("</html>").lacks("<no value>", "ZgotmplZ", "%!", " style=", "<script>", "onclick")
			if csp := p.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: CSP %q", path, csp)
			}
		}
	}
}

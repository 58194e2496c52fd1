package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// Every page of every role answers, is small, and asks nobody else for anything.
func TestConsolePages(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.do("PUT", "/v1/tenants/acme/policies/RS256", w.root, `{}`).ok(201, new(Policy))
	kid := w.keys("acme", "active")[0].KID
	for _, role := range []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor, tenant.TenantSigner} {
		s := w.signedIn(w.key(role, &acme.ID))
		for _, path := range []string{
			"/console", "/console/account", "/console/tenants", "/console/tenants/new", "/console/history", "/console/platform", "/console/incident?q=acme",
			"/console/platform/api-keys", "/console/platform/webhooks", "/console/tenants/acme", "/console/tenants/acme/keys?state=active",
			"/console/tenants/acme/key?kid=" + kid, "/console/tenants/acme/policies", "/console/tenants/acme/policies/ES256", "/console/tenants/acme/policies/EdDSA",
			"/console/tenants/acme/verifiers?for=jose", "/console/tenants/acme/settings", "/console/tenants/acme/history?verify=1", "/console/tenants/acme/approvals",
			"/console/tenants/acme/webhooks", "/console/tenants/acme/api-keys", "/console/tenants/acme/act/rotate", "/console/tenants/acme/act/revoke?kid=" + kid,
			"/console/tenants/acme/act/revoke-all", "/console/tenants/acme/act/suspend", "/console/tenants/acme/act/resume", "/console/tenants/acme/act/purge",
			"/console/tenants/acme/act/delete", "/console/tenants/acme/act/import", "/console/tenants/acme/act/retire?alg=RS256",
		} {
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

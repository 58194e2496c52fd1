package httpapi

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

func TestDeniedAttemptsAreAudited(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	auditor, signer := w.key(tenant.PlatformAuditor, nil), w.key(tenant.TenantSigner, &acme.ID)
	w.do("DELETE", "/v1/tenants/other", auditor, "").problem(ProblemCodeForbidden)
	w.do("GET", "/v1/tenants/other/keys", signer, "", "X-Request-Id", "curious").problem(ProblemCodeTenantNotFound)
	for range 20 {
		w.do("GET", "/v1/tenants/acme/audit", signer, "").problem(ProblemCodeForbidden)
	}
	w.server.denials.writing.Wait()
	for ref, want := range map[string]int{"acme": 5, "platform": 1, other.Slug: 0} {
		var list AuditEventList
		w.do("GET", "/v1/tenants/"+ref+"/audit?order=asc&action=authorization.denied", w.root, "").ok(200, &list)
		if len(list.Items) != want {
			t.Errorf("%s: %d events", ref, len(list.Items))
		}
		if ref == "acme" && (*list.Items[0].RequestID != "curious" || !strings.Contains(string(list.Items[0].Details), `"listKeys"`) ||
			!strings.Contains(string(list.Items[0].Details), `"other"`) || list.Items[0].Actor.Name != "tenant_signer") {
			t.Errorf("%+v %s", list.Items[0], list.Items[0].Details)
		}
		var v AuditVerification
		if w.do("GET", "/v1/tenants/"+ref+"/audit/verify", w.root, "").ok(200, &v); !v.Intact {
			t.Errorf("%s: %+v", ref, v)
		}
	}
}

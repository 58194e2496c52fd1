package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// matrix says who may do what, as docs/contract.md says: P platform_admin,
// p platform_auditor, A tenant_admin, s tenant_signer, a tenant_auditor, v tenant_verifier. It is
// written out here so that it can differ from roles.go.
var matrix = []struct {
	operation, method, path, body, may string
}{
	{"createTenant", "POST", "/v1/tenants", `{}`, "P"},
	{"listTenants", "GET", "/v1/tenants", "", "Pp"},
	{"getTenant", "GET", "/v1/tenants/acme", "", "PpAsa"},
	{"updateTenant", "PATCH", "/v1/tenants/acme", `{"slug":1}`, "PA"},
	{"deleteTenant", "DELETE", "/v1/tenants/acme", "{}", "P"},
	{"getDestructionCertificate", "GET", "/v1/tenants/00000000-0000-7000-8000-000000000000/destruction-certificate", "", "Pp"},
	{"listPolicies", "GET", "/v1/tenants/acme/policies", "", "PpAsa"},
	{"putPolicy", "PUT", "/v1/tenants/acme/policies/ES256", `{"x":1}`, "PA"},
	{"retirePolicy", "DELETE", "/v1/tenants/acme/policies/ES256", "{}", "PA"},
	{"listKeys", "GET", "/v1/tenants/acme/keys", "", "PpAa"},
	{"getKey", "GET", "/v1/tenants/acme/keys/none", "", "PpAa"},
	{"getKeyAdoption", "GET", "/v1/tenants/acme/keys/none/adoption", "", "PpAa"},
	{"importKey", "POST", "/v1/tenants/acme/keys/import", `{}`, "PA"},
	{"rotateKeys", "POST", "/v1/tenants/acme/keys/rotate", `{"dry_run":true}`, "PA"},
	{"revokeKey", "POST", "/v1/tenants/acme/keys/none/revoke", `{}`, "PA"},
	{"revokeActiveKey", "POST", "/v1/tenants/acme/keys/revoke", `{}`, "PA"},
	{"revokeAllKeys", "POST", "/v1/tenants/acme/keys/revoke-all", `{}`, "PA"},
	{"purgeKeys", "POST", "/v1/tenants/acme/keys/purge", `{"x":1}`, "PA"},
	{"rotateDataKey", "POST", "/v1/tenants/acme/data-key/rotate", `{"x":1}`, "PA"},
	{"signToken", "POST", "/v1/tenants/acme/tokens", `{"claims":{}}`, "PAs"},
	{"signTokens", "POST", "/v1/tenants/acme/tokens/batch", `{"tokens":[]}`, "PAs"},
	{"verifyToken", "POST", "/v1/tenants/acme/tokens/verify", `{"token":"x"}`, "PpAsa"},
	{"signPayload", "POST", "/v1/tenants/acme/sign", `{"payload":""}`, "PAs"},
	{"listAuditEvents", "GET", "/v1/tenants/acme/audit", "", "PpAa"},
	{"verifyAudit", "GET", "/v1/tenants/acme/audit/verify", "", "PpAa"},
	{"getAuditCheckpoint", "GET", "/v1/tenants/acme/audit/checkpoint", "", "PpAa"},
	{"getPlatformCheckpoint", "GET", "/v1/checkpoint", "", "Pp"},
	{"getJWKSFeed", "GET", "/v1/jwks-feed", "", "Pp"},
	{"listPlatformAuditEvents", "GET", "/v1/audit", "", "Pp"},
	{"streamTenantEvents", "GET", "/v1/tenants/acme/events?last_event_id=none", "", "PpAa"},
	{"streamKeyEvents", "GET", "/v1/tenants/acme/key-events?last_event_id=none", "", "PpAav"},
	{"streamPlatformEvents", "GET", "/v1/events?last_event_id=none", "", "Pp"},
	{"createTenantAPIKey", "POST", "/v1/tenants/acme/api-keys", `{}`, "PA"},
	{"listTenantAPIKeys", "GET", "/v1/tenants/acme/api-keys", "", "PA"},
	{"revokeTenantAPIKey", "DELETE", "/v1/tenants/acme/api-keys/00000000-0000-7000-8000-000000000000", "", "PA"},
	{"createPlatformAPIKey", "POST", "/v1/api-keys", `{}`, "P"},
	{"listPlatformAPIKeys", "GET", "/v1/api-keys", "", "P"},
	{"revokePlatformAPIKey", "DELETE", "/v1/api-keys/00000000-0000-7000-8000-000000000000", "", "P"},
	{"listApprovals", "GET", "/v1/tenants/acme/approvals", "", "PA"},
	{"getApproval", "GET", "/v1/tenants/acme/approvals/00000000-0000-7000-8000-000000000000", "", "PA"},
	{"approveApproval", "POST", "/v1/tenants/acme/approvals/00000000-0000-7000-8000-000000000000/approve", "", "PA"},
	{"rejectApproval", "POST", "/v1/tenants/acme/approvals/00000000-0000-7000-8000-000000000000/reject", "", "PA"},
	{"addDomain", "POST", "/v1/tenants/acme/domains", `{}`, "PA"},
	{"listDomains", "GET", "/v1/tenants/acme/domains", "", "PA"},
	{"verifyDomain", "POST", "/v1/tenants/acme/domains/id.example/verify", "", "PA"},
	{"removeDomain", "DELETE", "/v1/tenants/acme/domains/id.example", "", "PA"},
	{"createTenantWebhook", "POST", "/v1/tenants/acme/webhooks", `{}`, "PA"},
	{"listTenantWebhooks", "GET", "/v1/tenants/acme/webhooks", "", "PA"},
	{"getTenantWebhook", "GET", "/v1/tenants/acme/webhooks/00000000-0000-7000-8000-000000000000", "", "PA"},
	{"updateTenantWebhook", "PATCH", "/v1/tenants/acme/webhooks/00000000-0000-7000-8000-000000000000", `{}`, "PA"},
	{"deleteTenantWebhook", "DELETE", "/v1/tenants/acme/webhooks/00000000-0000-7000-8000-000000000000", "", "PA"},
	{"listTenantWebhookDeliveries", "GET", "/v1/tenants/acme/webhooks/00000000-0000-7000-8000-000000000000/deliveries", "", "PA"},
	{"redeliverTenantWebhook", "POST", "/v1/tenants/acme/webhooks/00000000-0000-7000-8000-000000000000/deliveries/00000000-0000-7000-8000-000000000000/redeliver", "", "PA"},
	{"createPlatformWebhook", "POST", "/v1/webhooks", `{}`, "P"},
	{"listPlatformWebhooks", "GET", "/v1/webhooks", "", "P"},
	{"getPlatformWebhook", "GET", "/v1/webhooks/00000000-0000-7000-8000-000000000000", "", "P"},
	{"updatePlatformWebhook", "PATCH", "/v1/webhooks/00000000-0000-7000-8000-000000000000", `{}`, "P"},
	{"deletePlatformWebhook", "DELETE", "/v1/webhooks/00000000-0000-7000-8000-000000000000", "", "P"},
	{"listPlatformWebhookDeliveries", "GET", "/v1/webhooks/00000000-0000-7000-8000-000000000000/deliveries", "", "P"},
	{"redeliverPlatformWebhook", "POST", "/v1/webhooks/00000000-0000-7000-8000-000000000000/deliveries/00000000-0000-7000-8000-000000000000/redeliver", "", "P"},
}

var letters = map[string]tenant.Role{
	"P": tenant.PlatformAdmin, "p": tenant.PlatformAuditor, "A": tenant.TenantAdmin, "s": tenant.TenantSigner, "a": tenant.TenantAuditor, "v": tenant.TenantVerifier,
}

// Cell by cell. Bodies that change something are made so that they are refused
// behind the door, never at it; nothing changes but the history of the denied.
func TestRoleMatrix(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	own, foreign := map[string]string{}, map[string]string{}
	for letter, role := range letters {
		own[letter], foreign[letter] = w.key(role, &acme.ID), w.key(role, &other.ID)
	}
	w.walkMatrix(own, foreign)
}

// walkMatrix tries every cell with credentials of the tenants acme and other,
// by the letter of their role.
func (w *world) walkMatrix(own, foreign map[string]string) {
	t := w.t
	t.Helper()
	before := w.rows()
	for _, m := range matrix {
		w.do(m.method, m.path, "", m.body).problem(ProblemCodeUnauthenticated)
		for letter := range letters {
			a := w.do(m.method, m.path, own[letter], m.body)
			if may, did := strings.Contains(m.may, letter), a.StatusCode != 403; may != did || a.StatusCode == 401 || a.StatusCode >= 500 {
				t.Errorf("%s by %s: %d %s", m.operation, letters[letter], a.StatusCode, a.body)
			}
			if a.StatusCode == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Errorf("%s: %v", m.operation, a.Header)
			}
			if strings.Contains("Pp", letter) || !strings.Contains(m.path, "acme") {
				continue
			}
			w.indistinguishable(m.method, m.path, foreign[letter], m.body)
		}
	}
	if after := w.rows(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	if len(matrix) != len(permissions) {
		t.Errorf("%d operations here, %d in roles.go", len(matrix), len(permissions))
	}
}

// rows is state without what denied attempts move.
func (w *world) rows() string {
	w.server.denials.writing.Wait()
	return scalar[string](w, `SELECT concat_ws('|', (SELECT count(*) FROM tenants), (SELECT count(*) FROM policies), (SELECT count(*) FROM api_keys),
		(SELECT string_agg(kid || state, ',' ORDER BY kid) FROM keys), (SELECT count(*) FROM audit_events WHERE action <> 'authorization.denied'))`)
}

// indistinguishable demands that a tenant that exists and one that does not
// get the very same answer.
func (w *world) indistinguishable(method, path, key, body string) {
	w.t.Helper()
	there := w.do(method, path, key, body, "X-Request-Id", "same")
	there.problem(ProblemCodeTenantNotFound)
	nowhere := w.do(method, strings.Replace(path, "acme", "nowhere", 1), key, body, "X-Request-Id", "same")
	there.Header.Del("Date")
	nowhere.Header.Del("Date")
	a, _ := json.Marshal(there.Header)
	b, _ := json.Marshal(nowhere.Header)
	if there.StatusCode != nowhere.StatusCode || string(there.body) != string(nowhere.body) || string(a) != string(b) {
		w.t.Errorf("%s %s: %d %s %s, elsewhere %d %s %s", method, path, there.StatusCode, a, there.body, nowhere.StatusCode, b, nowhere.body)
	}
}

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

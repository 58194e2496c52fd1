package httpapi

import (
	"testing"

	"github.com/keyward/keyward/tenant"
)

// That private keys left is the operator's affair: verifiers do not hear of it, and those
// who may read the history do.
func TestVerifiersDoNotHearOfExports(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	verifiers := w.listenTo(w.keyEvents("acme"), w.key(tenant.TenantVerifier, &acme.ID), "")
	auditors := w.listenTo(w.tenantEvents("acme"), w.key(tenant.TenantAuditor, &acme.ID), "")
	private, err := w.store.ExportPrivate(t.Context(), operator, acme.ID, "leaving")
	if err != nil || len(private) != 2 {
		t.Fatalf("%d private keys, %v", len(private), err)
	}
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "{}").ok(200)
	if e := verifiers.event(); e.event == "key.exported" {
		t.Errorf("%+v", e)
	}
	for e := auditors.event(); e.event != "key.exported"; e = auditors.event() {
		if e.event == "key.activated" {
			t.Fatal("the stream does not tell of the export")
		}
	}
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v); !v.Intact {
		t.Errorf("%+v", v)
	}
}

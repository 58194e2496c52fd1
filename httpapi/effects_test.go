package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

// effectful is a request, all its effects, and the status of the answer once it is
// approved.
type effectful struct {
	operation, method, path, body string
	effects                       []GuardedOperation
	status                        int
}

// effectfulRequests makes a tenant that is called slug, and requests with every effect
// that an approval can be required for, by every operation that has one. They can be
// carried out in this order.
func (w *world) effectfulRequests(slug string) (list []effectful) {
	t, at, host := w.t, "/v1/tenants/"+slug, slug+"-id.example"
	t.Helper()
	dns := w.dns
	var made Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`","policies":[{"alg":"EdDSA","default":true},{"alg":"ES256"}]}`).ok(201, &made)
	var claimed Domain
	w.do("POST", at+"/domains", w.root, `{"domain":"`+host+`"}`).ok(201, &claimed)
	dns.set(claimed.TxtName, claimed.TxtValue)
	w.do("POST", at+"/domains/"+host+"/verify", w.root, "").ok(200)
	victim := w.made(at+"/api-keys", w.root, `{"role":"tenant_signer"}`).ID.String()
	workload := w.workload(at, aWorkload).ID.String()
	ofAll := w.made("/v1/api-keys", w.root, `{"role":"platform_auditor"}`).ID.String()
	const url = `{"url":"https://hooks.example/x"}`
	hook, ofPlatform := w.hook(at+"/webhooks", w.root, url).ID.String(), w.hook("/v1/webhooks", w.root, url).ID.String()
	var keys KeyList
	w.do("GET", at+"/keys?alg=EdDSA&state=standby", w.root, "").ok(200, &keys)
	standby, imported := keys.Items[0].KID, body(map[string]string{"alg": "ES256", "private_key": foreignEC(t).jwk})
	type e = []GuardedOperation
	settings := e{"settings"}
	return []effectful{
		{"revokeKey", "POST", at + "/keys/" + standby + "/revoke", `{"reason":"superseded"}`, e{"revoke"}, 200},
		{"revokeActiveKey", "POST", at + "/keys/revoke", `{"alg":"ES256","reason":"superseded"}`, e{"revoke"}, 200},
		{"revokeAllKeys", "POST", at + "/keys/revoke-all", `{"reason":"superseded"}`, e{"revoke", "revoke_all"}, 200},
		{"purgeKeys", "POST", at + "/keys/purge", "", e{"purge"}, 200},
		{"importKey", "POST", at + "/keys/import", imported, e{"revoke", "import"}, 201},
		{"putPolicy", "PUT", at + "/policies/ES256", `{"purge_after_seconds":60}`, e{"purge", "policy"}, 200},
		{"putPolicy", "PUT", at + "/policies/ES256", `{"max_published_keys":15}`, e{"revoke", "policy"}, 200},
		{"putPolicy", "PUT", at + "/policies/ES384", `{}`, e{"policy"}, 201},
		{"retirePolicy", "DELETE", at + "/policies/ES256", "", e{"revoke", "policy"}, 204},
		{"rotateDataKey", "POST", at + "/data-key/rotate", "", settings, 200},
		{"createTenantAPIKey", "POST", at + "/api-keys", `{"role":"tenant_auditor"}`, e{"api_keys"}, 201},
		{"revokeTenantAPIKey", "DELETE", at + "/api-keys/" + victim, "", e{"api_keys"}, 204},
		{"createWorkloadIdentity", "POST", at + "/workload-identities", aWorkload, e{"api_keys"}, 201},
		{"deleteWorkloadIdentity", "DELETE", at + "/workload-identities/" + workload, "", e{"api_keys"}, 204},
		{"createPlatformAPIKey", "POST", "/v1/api-keys", `{"role":"platform_auditor"}`, e{"api_keys"}, 201},
		{"revokePlatformAPIKey", "DELETE", "/v1/api-keys/" + ofAll, "", e{"api_keys"}, 204},
		{"verifyDomain", "POST", at + "/domains/" + host + "/verify", "", settings, 200},
		{"removeDomain", "DELETE", at + "/domains/" + host, "", settings, 204},
		{"createTenantWebhook", "POST", at + "/webhooks", url, settings, 201},
		{"updateTenantWebhook", "PATCH", at + "/webhooks/" + hook, `{"description":"x"}`, settings, 200},
		{"deleteTenantWebhook", "DELETE", at + "/webhooks/" + hook, "", settings, 204},
		{"createPlatformWebhook", "POST", "/v1/webhooks", url, settings, 201},
		{"updatePlatformWebhook", "PATCH", "/v1/webhooks/" + ofPlatform, `{"description":"x"}`, settings, 200},
		{"deletePlatformWebhook", "DELETE", "/v1/webhooks/" + ofPlatform, "", settings, 204},
		{"updateTenant", "PATCH", at, `{"status":"suspended"}`, settings, 200},
		{"updateTenant", "PATCH", at, `{"status":"active","name":"x"}`, settings, 200},
		{"updateTenant", "PATCH", at, `{"approval_required":["delete"]}`, settings, 200},
		{"deleteTenant", "DELETE", at, "", e{"revoke", "revoke_all", "delete", "policy", "api_keys", "settings"}, 204},
	}
}

// home is the tenant that asks for the approval of a request.
func (e effectful) home(slug string) string {
	if strings.Contains(e.path, "/tenants/") {
		return "/v1/tenants/" + slug
	}
	return "/v1/tenants/platform"
}

var allEffects = []GuardedOperation{"revoke", "revoke_all", "import", "purge", "delete", "policy", "api_keys", "settings"}

func approvalsOf(effects ...GuardedOperation) string {
	text, _ := json.Marshal(map[string]any{"approval_required": effects}) // texts have no other form
	return string(text)
}

// guard lets a tenant require approval of effects.
func (w *world) guard(home string, effects ...GuardedOperation) {
	w.t.Helper()
	w.do("PATCH", home, w.root, approvalsOf(effects...)).ok(200)
}

// Whatever path a guarded effect is reached by, one person does not reach it: whichever
// single effect a tenant guards, each request that has it waits, and changes nothing.
func TestEachEffectOfEachRequestIsGuarded(t *testing.T) {
	w := newWorld(t)
	w.serveNames()
	seen := map[string]bool{}
	for _, effect := range allEffects {
		slug := "t-" + strings.ReplaceAll(string(effect), "_", "-")
		requests := w.effectfulRequests(slug)
		w.guard("/v1/tenants/"+slug, effect)
		for _, e := range requests {
			if !slices.Contains(e.effects, effect) || e.home(slug) == "/v1/tenants/platform" {
				continue
			}
			seen[e.operation] = true
			before := w.guardedState()
			var a Approval
			w.do(e.method, e.path, w.root, e.body).ok(202, &a)
			if string(a.OperationID) != e.operation || a.Path != e.path || !slices.Equal(a.Effects, e.effects) {
				t.Errorf("%s %s guarded for %s: %s, %s of %v", e.method, e.path, effect, a.Operation, a.OperationID, a.Effects)
			}
			if after := w.guardedState(); after != before {
				t.Errorf("%s %s guarded for %s changed something:\n%s\n%s", e.method, e.path, effect, before, after)
			}
		}
	}
	for name, p := range permissions {
		if p.guarded && !strings.Contains(name, "Platform") && !seen[name] {
			t.Errorf("%s was not tried", name)
		}
	}
}

// guardedState is all that a guarded request could change, without approvals and their
// events.
func (w *world) guardedState() string {
	w.t.Helper()
	return scalar[string](w, `SELECT concat_ws('|', (SELECT string_agg(slug || status || name || approval_required::text, ',' ORDER BY id) FROM tenants),
		(SELECT string_agg(p::text, ',' ORDER BY tenant_id, alg) FROM policies p), (SELECT string_agg(kid || state || (sealed_private IS NULL), ',' ORDER BY kid) FROM keys),
		(SELECT string_agg(d::text, ',' ORDER BY tenant_id, version) FROM data_keys d), (SELECT string_agg(id::text || COALESCE(revoked_at::text, ''), ',' ORDER BY id) FROM api_keys), (SELECT string_agg(i::text, ',' ORDER BY id) FROM workload_identities i),
		(SELECT string_agg(d::text, ',' ORDER BY tenant_id, domain) FROM domains d), (SELECT string_agg(id::text || status || description, ',' ORDER BY id) FROM webhooks),
		(SELECT count(*) FROM audit_events WHERE action NOT LIKE 'approval.%'))`)
}

// Every operation that can need approval is carried out once when a second person has
// approved it, with both names in the history.
func TestEveryGuardedOperationIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	w.serveNames()
	first, second := w.key(tenant.PlatformAdmin, nil), w.key(tenant.PlatformAdmin, nil)
	requests := w.effectfulRequests("acme")
	w.guard("/v1/tenants/acme", allEffects...)
	w.guard("/v1/tenants/platform", allEffects...)
	seen := map[string]bool{}
	for i, e := range requests {
		seen[e.operation] = true
		var a Approval
		var same Approval
		requestName := fmt.Sprint("request-", i)
		w.do(e.method, e.path, first, e.body, "Idempotency-Key", requestName).ok(202, &a)
		if w.do(e.method, e.path, first, e.body, "Idempotency-Key", requestName).ok(202, &same); same.ID != a.ID {
			t.Errorf("%s: repeated, it asks for another approval", e.operation)
		}
		at := e.home("acme") + "/approvals/" + a.ID.String()
		bring := bringing(a)
		w.do(e.method, e.path, first, e.body, bring...).problem(ProblemCodeConflict)
		w.do("POST", at+"/approve", first, "").problem(ProblemCodeForbidden)
		w.do("POST", at+"/approve", second, "").ok(200)
		w.do(e.method, e.path, first, e.body, "Keyward-Approval", "none").problem(ProblemCodeInvalidRequest)
		w.do(e.method, e.path, first, e.body, append(bring, "Idempotency-Key", a.ID.String())...).ok(e.status)
		if e.operation == "deleteTenant" {
			break
		}
		done := w.guardedState()
		if again := w.do(e.method, e.path, first, e.body, bring...); again.StatusCode != 200 && again.StatusCode != 409 || w.guardedState() != done {
			t.Errorf("%s: done twice: %d %s", e.operation, again.StatusCode, again.body) // 200: there is nothing left to change
		}
		approver := scalar[string](w, `SELECT COALESCE((SELECT details->'approval'->'approved_by'->>'id' FROM audit_events
			WHERE details->'approval'->>'id' = $1 AND action NOT LIKE 'approval.%' LIMIT 1), '')`, a.ID.String())
		if approver != keyID(second) {
			t.Errorf("%s: approved by %q, says the history", e.operation, approver)
		}
		if strings.Contains(e.body, "approval_required") {
			w.do("PATCH", "/v1/tenants/acme", first, approvalsOf(allEffects...)).ok(200)
		}
	}
	for name, p := range permissions {
		if p.guarded && !seen[name] {
			t.Errorf("%s was not tried", name)
		}
	}
}

// A tenant_admin cannot approve what they may not do, as the creation of a credential of
// the platform, though it is asked for in a tenant that has administrators.
func TestApproverMayMakeTheRequest(t *testing.T) {
	w := newWorld(t)
	first := w.key(tenant.PlatformAdmin, nil)
	var platform Tenant
	w.do("GET", "/v1/tenants/platform", w.root, "").ok(200, &platform)
	admin := w.key(tenant.TenantAdmin, &platform.ID)
	w.guard("/v1/tenants/platform", "api_keys")
	var a Approval
	w.do("POST", "/v1/api-keys", first, `{"role":"platform_admin"}`).ok(202, &a)
	w.do("POST", "/v1/tenants/platform/approvals/"+a.ID.String()+"/approve", admin, "").problem(ProblemCodeForbidden)
	w.do("POST", "/v1/api-keys", admin, `{"role":"platform_admin"}`).problem(ProblemCodeForbidden)
}

// Who guards revoke_all alone is not robbed of all keys by revoking them one by one.
func TestRevokingOneByOneIsRevokingAll(t *testing.T) {
	w := newWorld(t)
	var acme Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","approval_required":["revoke_all"],"policies":[{"alg":"EdDSA","default":true},{"alg":"ES256"}]}`).ok(201, &acme)
	for _, young := range []bool{true, false} {
		if w.clock.pass(time.Minute); !young {
			w.clock.pass(48 * time.Hour)
		}
		var list KeyList
		w.do("GET", "/v1/tenants/acme/keys?alg=ES256", w.root, "").ok(200, &list)
		waits := 0
		for _, k := range list.Items {
			if k.State != KeyStateActive && k.State != KeyStateStandby {
				continue
			}
			switch a := w.do("POST", "/v1/tenants/acme/keys/"+k.KID+"/revoke", w.root, `{"reason":"superseded"}`); a.StatusCode {
			case 200:
				w.clock.pass(time.Minute)
			case 202:
				waits++
			default:
				t.Fatalf("%d: %s", a.StatusCode, a.body)
			}
		}
		if waits != 1 {
			t.Errorf("young: %t, %d of the revocations wait", young, waits)
		}
	}
}

// An approval covers what its approver was told: if the same request has another guarded
// effect by then, it needs another approval.
func TestApprovalCoversTheEffectsOfItsTime(t *testing.T) {
	w := newWorld(t)
	first, second := w.key(tenant.PlatformAdmin, nil), w.key(tenant.PlatformAdmin, nil)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","approval_required":["revoke","revoke_all"]}`).ok(201)
	w.clock.pass(time.Minute)
	active, standby := w.keys("acme", KeyStateActive)[0], w.keys("acme", KeyStateStandby)[0]
	revoke := func(kid string, headers ...string) *answer {
		return w.do("POST", "/v1/tenants/acme/keys/"+kid+"/revoke", first, `{"reason":"superseded"}`, headers...)
	}
	var one, other, again Approval
	revoke(standby.KID).ok(202, &one)
	revoke(active.KID).ok(202, &other)
	w.decided(one, second, "approve").ok(200)
	w.decided(other, second, "approve").ok(200)
	revoke(standby.KID, bringing(one)...).ok(200)
	w.clock.pass(time.Minute)
	revoke(active.KID, bringing(other)...).ok(202, &again)
	if again.ID == other.ID || again.Operation != ApprovalOperationRevokeAll {
		t.Errorf("%+v", again)
	}
	w.decided(again, second, "approve").ok(200)
	revoke(active.KID, bringing(again)...).ok(200)
}

// An approval covers the values that its approver was told: what somebody else has changed
// meanwhile is not changed back by it.
func TestApprovalCoversTheValuesOfItsTime(t *testing.T) {
	w := newWorld(t)
	first, second := w.key(tenant.PlatformAdmin, nil), w.key(tenant.PlatformAdmin, nil)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","name":"First","approval_required":["policy","settings"]}`).ok(201)
	for _, c := range []struct{ method, path, request, meanwhile string }{
		{"PUT", "/v1/tenants/acme/policies/ES256", `{"default":true,"grace_period_seconds":691200}`, `{"default":true,"min_adoption":0.5}`},
		{"PATCH", "/v1/tenants/acme", `{"name":"First","clock_skew_seconds":30}`, `{"name":"Other"}`},
	} {
		send := func(body string, a *Approval) *answer {
			if a == nil {
				return w.do(c.method, c.path, first, body)
			}
			return w.do(c.method, c.path, first, body, bringing(*a)...)
		}
		var one, other, again Approval
		send(c.request, nil).ok(202, &one)
		send(c.meanwhile, nil).ok(202, &other)
		w.decided(one, second, "approve").ok(200)
		w.decided(other, second, "approve").ok(200)
		send(c.meanwhile, &other).ok(200)
		send(c.request, &one).ok(202, &again)
		if again.ID == one.ID || len(again.Changes) == 0 {
			t.Errorf("%s: %+v", c.path, again)
		}
		w.decided(again, second, "approve").ok(200)
		send(c.request, &again).ok(200)
	}
}

// Revoking a credential takes those along that it made, if asked, and says how many are
// left if not.
func TestChildrenOfARevokedCredential(t *testing.T) {
	w := newWorld(t)
	acme, guarded := w.tenant("acme"), w.tenant("guarded")
	const keys, ofPlatform = "/v1/tenants/acme/api-keys", "/v1/api-keys"
	admin := `{"role":"tenant_admin"}`
	maker := w.made(keys, w.root, admin)
	child := w.made(keys, maker.Key, admin)
	grandchild := w.made(keys, child.Key, `{"role":"tenant_signer"}`)
	other := w.made(keys, w.root, admin)
	var done RevokedAPIKeys
	w.do("DELETE", keys+"/"+child.ID.String(), w.root, "").ok(200, &done)
	if done.ChildrenRevoked != 0 || done.ChildrenLeft != 1 || !slices.Equal(done.Revoked, []uuid.UUID{child.ID}) {
		t.Errorf("%+v", done)
	}
	w.do("DELETE", keys+"/"+maker.ID.String()+"?children=true", w.root, "").ok(200, &done) // by a child that is revoked already
	if done.ChildrenRevoked != 1 || done.ChildrenLeft != 0 || !slices.Equal(done.Revoked, []uuid.UUID{maker.ID, grandchild.ID}) {
		t.Errorf("%+v", done)
	}
	for _, key := range []string{maker.Key, child.Key, grandchild.Key} {
		w.do("GET", "/v1/tenants/acme", key, "").problem(ProblemCodeUnauthenticated)
	}
	w.do("GET", "/v1/tenants/acme", other.Key, "").ok(200)
	w.do("DELETE", keys+"/"+other.ID.String(), w.root, "").ok(204)

	// A credential of the platform makes some in every tenant.
	boss := w.made(ofPlatform, w.root, `{"role":"platform_admin"}`)
	deputy := w.made(ofPlatform, boss.Key, `{"role":"platform_admin"}`)
	theirs := w.made(keys, deputy.Key, admin)
	left := w.made("/v1/tenants/guarded/api-keys", deputy.Key, admin)
	w.guard("/v1/tenants/guarded", "api_keys")
	w.do("DELETE", ofPlatform+"/"+boss.ID.String()+"?children=true", w.root, "").ok(200, &done)
	if done.ChildrenRevoked != 2 || done.ChildrenLeft != 1 || !slices.Equal(done.Revoked, []uuid.UUID{boss.ID, deputy.ID, theirs.ID}) {
		t.Errorf("%+v", done)
	}
	w.do("GET", "/v1/tenants/acme", theirs.Key, "").problem(ProblemCodeUnauthenticated)
	w.do("GET", "/v1/tenants/guarded", left.Key, "").ok(200)
	for _, id := range []uuid.UUID{acme.ID, guarded.ID} {
		var v AuditVerification
		if w.do("GET", "/v1/tenants/"+id.String()+"/audit/verify", w.root, "").ok(200, &v); !v.Intact {
			t.Errorf("%+v", v)
		}
	}
}

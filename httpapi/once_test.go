package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// once is an Idempotency-Key as header fields.
func once(key string) []string { return []string{"Idempotency-Key", key} }

// replayed demands the first answer again, and that nothing changed for it.
func (w *world) replayed(first *answer, method, path, key, body string, headers ...string) {
	w.t.Helper()
	before := w.state()
	again := w.do(method, path, key, body, headers...)
	if again.Header.Get("Idempotent-Replayed") != "true" || first.Header.Get("Idempotent-Replayed") != "" {
		w.t.Errorf("%s %s: replayed %q, then %q", method, path, first.Header.Get("Idempotent-Replayed"), again.Header.Get("Idempotent-Replayed"))
	}
	if again.StatusCode != first.StatusCode || !bytes.Equal(again.body, first.body) {
		w.t.Errorf("%s %s: %d %s\nand again %d %s", method, path, first.StatusCode, first.body, again.StatusCode, again.body)
	}
	for _, name := range []string{"Location", "Content-Type", "Preference-Applied", "Cache-Control"} {
		if first.Header.Get(name) != again.Header.Get(name) {
			w.t.Errorf("%s %s: %s: %q, and again %q", method, path, name, first.Header.Get(name), again.Header.Get(name))
		}
	}
	if w.state() != before {
		w.t.Errorf("%s %s: the repetition changed something", method, path)
	}
}

// Every operation with a method that may change something is carried out once, is
// answered again as the first time, and refuses its key for another request.
func TestEveryChangeIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	names := w.serveNames()
	acme := w.tenant("acme")
	hook := w.hook("/v1/tenants/acme/webhooks", w.root, `{"url":"https://127.0.0.1:1/a"}`).ID.String()
	ofAll := w.hook("/v1/webhooks", w.root, `{"url":"https://127.0.0.1:1/a"}`).ID.String()
	platform := scalar[string](w, `SELECT id::text FROM tenants WHERE slug = 'platform'`)
	delivery := func(owner, hook string, ofAll bool) string {
		id := uuid.NewString()
		dbtest.Exec(t, w.dsn, fmt.Sprintf(`INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, of_all, event_tenant_id, event_seq, action, asked_at, due_at, created_at)
			VALUES ('%s', '%s', '%s', %t, '%s', 1, 'tenant.created', now(), now(), now())`, owner, hook, id, ofAll, acme.ID))
		return id
	}
	id := func(path string) string { // of what a POST makes
		a := w.do("POST", path, w.root, `{"role":"platform_auditor"}`)
		if strings.HasPrefix(path, "/v1/tenants/") {
			a = w.do("POST", path, w.root, `{"role":"tenant_auditor"}`)
		}
		return a.Header.Get("Location")
	}
	w.do("PUT", "/v1/tenants/acme/policies/ES384", w.root, `{}`).ok(201)
	var domain Domain
	w.do("POST", "/v1/tenants/acme/domains", w.root, `{"domain":"keys.acme.example"}`).ok(201, &domain)
	names.set(domain.TxtName, domain.TxtValue)
	kid := w.keys("acme", KeyStateActive)[0].KID
	token := w.sign("acme", `{"claims":{}}`).Token
	foreign := body(map[string]string{"private_key": foreignEC(t).pem, "alg": "ES256"})
	w.do("POST", "/v1/tenants", w.root, `{"slug":"guarded","approval_required":["purge"]}`).ok(201)
	requester := w.key(tenant.PlatformAdmin, nil)
	pending := func() string {
		return w.do("POST", "/v1/tenants/guarded/keys/purge", requester, `{}`).ok(202).Header.Get("Location")
	}

	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"reason":"used"}`, once("used")...).ok(200)
	w.do("POST", "/v1/tenants/guarded/keys/rotate", w.root, `{"reason":"used"}`, once("used")...).ok(200)
	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_auditor","name":"used"}`, once("used")...).ok(201)
	done := map[string]bool{}
	for i, step := range []struct{ operation, method, path, body string }{
		{"createTenant", "POST", "/v1/tenants", `{"slug":"made"}`},
		{"updateTenant", "PATCH", "/v1/tenants/acme", `{"name":"Acme"}`},
		{"putPolicy", "PUT", "/v1/tenants/acme/policies/ES512", `{}`},
		{"retirePolicy", "DELETE", "/v1/tenants/acme/policies/ES384", ``},
		{"importKey", "POST", "/v1/tenants/acme/keys/import", foreign},
		{"rotateKeys", "POST", "/v1/tenants/acme/keys/rotate", ``},
		{"revokeKey", "POST", "/v1/tenants/acme/keys/" + kid + "/revoke", `{"reason":"compromised"}`},
		{"revokeActiveKey", "POST", "/v1/tenants/acme/keys/revoke", `{"reason":"superseded"}`},
		{"revokeAllKeys", "POST", "/v1/tenants/acme/keys/revoke-all", `{"reason":"superseded"}`},
		{"purgeKeys", "POST", "/v1/tenants/acme/keys/purge", ``},
		{"rotateDataKey", "POST", "/v1/tenants/acme/data-key/rotate", ``},
		{"signToken", "POST", "/v1/tenants/acme/tokens", `{"claims":{}}`},
		{"signTokens", "POST", "/v1/tenants/acme/tokens/batch", `{"tokens":[{"claims":{}}]}`},
		{"verifyToken", "POST", "/v1/tenants/acme/tokens/verify", `{"token":"` + token + `"}`},
		{"signPayload", "POST", "/v1/tenants/acme/sign", `{"payload":"aGVsbG8"}`},
		{"createTenantAPIKey", "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer"}`},
		{"revokeTenantAPIKey", "DELETE", id("/v1/tenants/acme/api-keys"), ``},
		{"createWorkloadIdentity", "POST", "/v1/tenants/acme/workload-identities", aWorkload},
		{"deleteWorkloadIdentity", "DELETE", "/v1/tenants/acme/workload-identities/" + w.workload("/v1/tenants/acme", aWorkload).ID.String(), ``},
		{"createPlatformAPIKey", "POST", "/v1/api-keys", `{"role":"platform_auditor"}`},
		{"revokePlatformAPIKey", "DELETE", id("/v1/api-keys"), ``},
		{"addDomain", "POST", "/v1/tenants/acme/domains", `{"domain":"www.acme.example"}`},
		{"verifyDomain", "POST", "/v1/tenants/acme/domains/keys.acme.example/verify", ``},
		{"removeDomain", "DELETE", "/v1/tenants/acme/domains/keys.acme.example", ``},
		{"createTenantWebhook", "POST", "/v1/tenants/acme/webhooks", `{"url":"https://127.0.0.1:1/b"}`},
		{"updateTenantWebhook", "PATCH", "/v1/tenants/acme/webhooks/" + hook, `{"description":"x"}`},
		{"redeliverTenantWebhook", "POST", "/v1/tenants/acme/webhooks/" + hook + "/deliveries/" + delivery(acme.ID.String(), hook, false) + "/redeliver", ``},
		{"deleteTenantWebhook", "DELETE", "/v1/tenants/acme/webhooks/" + hook, ``},
		{"createPlatformWebhook", "POST", "/v1/webhooks", `{"url":"https://127.0.0.1:1/b"}`},
		{"updatePlatformWebhook", "PATCH", "/v1/webhooks/" + ofAll, `{"description":"x"}`},
		{"redeliverPlatformWebhook", "POST", "/v1/webhooks/" + ofAll + "/deliveries/" + delivery(platform, ofAll, true) + "/redeliver", ``},
		{"deletePlatformWebhook", "DELETE", "/v1/webhooks/" + ofAll, ``},
		{"approveApproval", "POST", pending() + "/approve", ``},
		{"rejectApproval", "POST", pending() + "/reject", ``},
		{"deleteTenant", "DELETE", "/v1/tenants/made", ``},
	} {
		key := fmt.Sprintf("step-%d", i)
		before := w.state()
		first := w.do(step.method, step.path, w.root, step.body, once(key)...)
		if first.StatusCode >= 300 {
			t.Errorf("%s: %d %s", step.operation, first.StatusCode, first.body)
			continue
		}
		if stays := w.state() == before; stays {
			t.Errorf("%s: no answer was stored", step.operation)
		}
		w.replayed(first, step.method, step.path, w.root, step.body, once(key)...)
		w.inert(func() { w.do(step.method, step.path, w.root, step.body, once("used")...).problem(ProblemCodeConflict) })
		if step.body != "" {
			w.inert(func() {
				w.do(step.method, step.path, w.root, step.body+" ", once(key)...).problem(ProblemCodeConflict)
			})
		}
		done[step.operation] = true
	}
	for path, item := range w.contract.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if method == http.MethodGet || method == http.MethodHead || !strings.HasPrefix(path, "/v1/") {
				continue
			}
			takes := op.Parameters.GetByInAndName("header", "Idempotency-Key") != nil
			if !takes || !done[op.OperationID] {
				t.Errorf("%s: documented to take an Idempotency-Key: %t; was carried out once here: %t", op.OperationID, takes, done[op.OperationID])
			}
		}
	}
}

// What a key stands for is told apart by caller, tenant and approval.
func TestIdempotencyKeysOfOthers(t *testing.T) {
	w := newWorld(t)
	acme, rival := w.tenant("acme"), w.tenant("rival")
	a, b, c := w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &rival.ID)
	var secrets []string
	for _, caller := range []struct{ key, path string }{{a, "acme"}, {b, "acme"}, {c, "rival"}, {w.root, "acme"}, {w.root, "rival"}} {
		var made CreatedAPIKey
		got := w.do("POST", "/v1/tenants/"+caller.path+"/api-keys", caller.key, `{"role":"tenant_signer"}`, once("same")...).ok(201, &made)
		if got.Header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%s got another's answer", caller.path)
		}
		for _, s := range secrets {
			if s == made.Key {
				t.Error("a secret was shown to two callers")
			}
		}
		secrets = append(secrets, made.Key)
	}
	w.do("POST", "/v1/tenants/acme/api-keys", c, `{"role":"tenant_signer"}`, once("same")...).problem(ProblemCodeTenantNotFound)
	for _, s := range secrets {
		_, secret, _ := strings.Cut(strings.TrimPrefix(s, "kw_"), "_")
		if n := scalar[int](w, `SELECT count(*) FROM idempotency_keys WHERE position($1::bytea IN answer) > 0`, []byte(secret)); n != 0 {
			t.Error("the secret of an API key is stored in clear")
		}
	}
	// A caller whose role is gone gets no answer of the time when it had one.
	w.do("POST", "/v1/tenants/acme/keys/rotate", a, "", once("rotate")...).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.key(tenant.TenantAuditor, &acme.ID), "", once("rotate")...).problem(ProblemCodeForbidden)
	// Refusals change nothing and are not kept.
	w.do("POST", "/v1/tenants/acme/keys/none/revoke", a, `{"reason":"compromised"}`, once("refused")...).problem(ProblemCodeKeyNotFound)
	w.do("POST", "/v1/tenants/acme/keys/rotate", a, "", once("refused")...).ok(200)
}

// A tenant that is deleted is not found when the request is repeated, and its name may
// be another's by then, which must not be deleted instead.
func TestRepeatedDeletion(t *testing.T) {
	w := newWorld(t)
	first := w.tenant("acme")
	a := w.do("DELETE", "/v1/tenants/acme", w.root, "", append(once("k"), "Prefer", "return=representation")...).ok(200)
	w.replayed(a, "DELETE", "/v1/tenants/acme", w.root, "", once("k")...)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").problem(ProblemCodeTenantNotFound)
	w.do("DELETE", "/v1/tenants/acme", w.root, "", once("other")...).problem(ProblemCodeTenantNotFound)
	second := w.tenant("acme")
	w.replayed(a, "DELETE", "/v1/tenants/acme", w.root, "", once("k")...)
	var there Tenant
	if w.do("GET", "/v1/tenants/acme", w.root, "").ok(200, &there); there.ID != second.ID || there.ID == first.ID {
		t.Errorf("%s is there, created were %s and %s", there.ID, first.ID, second.ID)
	}
	tenantAdmin := w.key(tenant.TenantAdmin, &second.ID)
	w.do("DELETE", "/v1/tenants/gone", tenantAdmin, "", once("k")...).problem(ProblemCodeTenantNotFound)
}

// The request that asks for an approval and the one that uses it are two, with one key.
func TestIdempotencyKeyWithApproval(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	const path = "/v1/tenants/acme/keys/purge"
	var a Approval
	asked := w.do("POST", path, first, `{}`, once("k")...).ok(202, &a)
	w.replayed(asked, "POST", path, first, `{}`, once("k")...)
	w.decided(a, second, "approve").ok(200)
	headers := append(once("k"), bringing(a)...)
	used := w.do("POST", path, first, `{}`, headers...).ok(200)
	w.replayed(used, "POST", path, first, `{}`, headers...)
	w.do("POST", path, first, `{}`, append(once("another"), bringing(a)...)...).problem(ProblemCodeConflict) // used up
}

// Equal requests at once are one change, and each gets its answer.
func TestEqualRequestsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PUT", "/v1/tenants/acme/policies/RS256", w.root, `{}`).ok(201)
	kid := w.keys("acme", KeyStateActive)[0].KID
	for i, step := range []struct{ method, path, body string }{
		{"POST", "/v1/tenants/acme/keys/rotate", `{"alg":"RS256"}`},
		{"POST", "/v1/tenants/acme/keys/" + kid + "/revoke", `{"reason":"compromised"}`},
		{"POST", "/v1/tenants", `{"slug":"made"}`},
		{"POST", "/v1/webhooks", `{"url":"https://127.0.0.1:1/a"}`},
		{"POST", "/v1/tenants/acme/tokens", `{"claims":{}}`},
		{"DELETE", "/v1/tenants/acme", ``},
	} {
		before := scalar[int](w, `SELECT count(*) FROM audit_events WHERE action IN ('key.deprecated', 'tenant.created', 'webhook.created', 'tenant.deleted')`)
		keys := scalar[int](w, `SELECT count(*) FROM keys`)
		bodies := make([]string, 8)
		got := atOnce(len(bodies), func(n int) *answer {
			a := w.do(step.method, step.path, w.root, step.body, once(fmt.Sprint("step", i))...)
			bodies[n] = fmt.Sprint(a.StatusCode, string(a.body), a.Header.Get("Location"))
			return a
		})
		for _, b := range bodies {
			if b != bodies[0] {
				t.Errorf("%s: %s\nand %s", step.path, bodies[0], b)
			}
		}
		for status := range got {
			if status >= 300 {
				t.Errorf("%s %s: %v", step.method, step.path, got)
			}
		}
		if n := scalar[int](w, `SELECT count(*) FROM audit_events WHERE action IN ('key.deprecated', 'tenant.created', 'webhook.created', 'tenant.deleted')`) - before; n > 1 {
			t.Errorf("%s: carried out %d times", step.path, n)
		}
		if n := scalar[int](w, `SELECT count(*) FROM keys`) - keys; n > 2 {
			t.Errorf("%s: %d new keys", step.path, n)
		}
	}
}

// worldBehind is a platform whose connections to the database go through a proxy.
func worldBehind(t *testing.T) (*world, *dbtest.LossyProxy) {
	t.Helper()
	p := dbtest.NewLossyProxy(t, dbtest.New(t))
	w := newWorldOn(t, p.URL)
	w.tenant("acme")
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200) // credential and tenant are known
	return w, p
}

func (w *world) rotations() int {
	return scalar[int](w, `SELECT count(*) FROM audit_events WHERE action = 'key.deprecated'`)
}

// A failed change says whether it was made: it is unknown once COMMIT was sent and its
// answer is lost, and it is not unknown before.
func TestOutcomeOfAFailedChange(t *testing.T) {
	w, proxy := worldBehind(t)
	rotate := func(headers ...string) *answer {
		return w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "", headers...)
	}
	proxy.LoseWrite()
	p := rotate().problem(ProblemCodeUnavailable)
	if p.Outcome == nil || *p.Outcome != ProblemOutcomeUnchanged || w.rotations() != 0 || !strings.Contains(p.Detail, "Nothing was changed") {
		t.Errorf("before COMMIT: %+v, %d rotations", p, w.rotations())
	}
	proxy.LoseCommit()
	p = rotate().problem(ProblemCodeUnavailable)
	if p.Outcome == nil || *p.Outcome != ProblemOutcomeUnknown || w.rotations() != 1 || !strings.Contains(p.Detail, "may have been") {
		t.Errorf("after COMMIT: %+v, %d rotations", p, w.rotations())
	}
	// With a key the lost answer is found again: at once if the database is there …
	proxy.LoseCommit()
	a := rotate(once("here")...).ok(200)
	if w.rotations() != 2 || a.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d rotations, %v", w.rotations(), a.Header)
	}
	if again := rotate(once("here")...).ok(200); !bytes.Equal(again.body, a.body) || w.rotations() != 2 {
		t.Errorf("%s\nand again %s; %d rotations", a.body, again.body, w.rotations())
	}
	// … else when the request is repeated.
	proxy.LoseCommitAndLeave()
	p = rotate(once("away")...).problem(ProblemCodeUnavailable)
	if p.Outcome == nil || *p.Outcome != ProblemOutcomeUnknown {
		t.Errorf("while the database is away: %+v", p)
	}
	proxy.Away(false)
	if again := rotate(once("away")...).ok(200); again.Header.Get("Idempotent-Replayed") != "true" || w.rotations() != 3 {
		t.Errorf("%v; %d rotations", again.Header, w.rotations())
	}
	// What only reads has no outcome, and a refusal is one.
	proxy.Away(true)
	w.snapshots.Missed()
	if p := w.do("GET", "/v1/tenants/acme/keys", w.root, "").problem(ProblemCodeUnavailable); p.Outcome != nil {
		t.Errorf("a read: %+v", p)
	}
	if p := rotate(once("later")...).problem(ProblemCodeUnavailable); p.Outcome == nil || *p.Outcome != ProblemOutcomeUnchanged {
		t.Errorf("without a database: %+v", p)
	}
	proxy.Away(false)
}

// The stored answers of a credential and of a tenant have bounds. Beyond them a request with
// a key is refused and changes nothing; what was answered before is answered again, requests
// without a key are carried out, and other tenants and credentials with few answers, with
// which somebody reacts to an emergency, are not concerned.
func TestStoredAnswersAreBounded(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	store := func(credential string, n int) {
		dbtest.Exec(t, w.dsn, fmt.Sprintf(`INSERT INTO idempotency_keys (tenant_id, credential_id, key, request_hash, answer, created_at)
			SELECT '%s', '%s', 'old-' || i, '', decode(repeat('00', 45), 'hex'), now() FROM generate_series(1, %d) i`, acme.ID, credential, n))
	}
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	const rotate = "/v1/tenants/acme/keys/rotate"
	first := w.do("POST", rotate, admin, `{}`, once("first")...)
	first.ok(200)
	store(scalar[string](w, `SELECT credential_id FROM idempotency_keys WHERE key = 'first'`), tenant.MaxAnswersOfCredential-1)
	before := w.state()
	refused := w.do("POST", rotate, admin, `{}`, once("second")...)
	refused.problem(ProblemCodeRateLimited)
	if refused.Header.Get("Retry-After") != "3600" {
		t.Errorf("Retry-After is %q", refused.Header.Get("Retry-After"))
	}
	if w.state() != before {
		t.Error("the refused request changed something")
	}
	w.replayed(first, "POST", rotate, admin, `{}`, once("first")...)
	w.do("POST", rotate, admin, `{}`).ok(200)
	w.do("POST", rotate, w.root, `{}`, once("second")...).ok(200)
	w.do("POST", "/v1/tenants/other/keys/rotate", w.root, `{}`, once("second")...).ok(200)

	another := w.key(tenant.TenantAdmin, &acme.ID)
	store("somebody", tenant.MaxAnswersOfTenant-tenant.MaxAnswersOfCredential)
	w.do("POST", rotate, another, `{}`, once("third")...).ok(200)
	store(scalar[string](w, `SELECT credential_id FROM idempotency_keys WHERE key = 'third'`), 99)
	w.do("POST", rotate, another, `{}`, once("fourth")...).problem(ProblemCodeRateLimited)
	w.do("POST", rotate, w.root, `{}`, once("fifth")...).ok(200)
}

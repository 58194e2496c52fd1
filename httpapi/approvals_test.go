package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// guardedTenant asks for approval of everything that can need it. first and
// second are two people who may do it all.
func guardedTenant(w *world) (acme Tenant, first, second string) {
	w.t.Helper()
	w.do("POST", "/v1/tenants", w.root,
		`{"slug":"acme","approval_required":["delete","revoke_all","import","purge"]}`).ok(201, &acme)
	return acme, w.key(tenant.PlatformAdmin, nil), w.key(tenant.PlatformAdmin, nil)
}

// request asks for an approval, by doing what needs one.
func (w *world) request(method, path, key, body string) (a Approval) {
	w.t.Helper()
	answer := w.do(method, path, key, body).ok(202, &a)
	if want := "/v1/tenants/acme/approvals/" + a.ID.String(); answer.Header.Get("Location") != want || a.Status != ApprovalStatusPending {
		w.t.Fatalf("%s: %s", answer.Header.Get("Location"), answer.body)
	}
	return a
}

func (w *world) decided(a Approval, key, word string) *answer {
	w.t.Helper()
	return w.do("POST", "/v1/tenants/acme/approvals/"+a.ID.String()+"/"+word, key, "")
}

func bringing(a Approval) []string { return []string{"Keyward-Approval", a.ID.String()} }

// Each operation waits for a second person, is done once, and both names are in
// the history.
func TestApprovalOfEachOperation(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	secret := foreignEC(t)
	for _, op := range []struct {
		operation, method, path, body string
		status                        int
		action                        string
	}{
		{"import", "POST", "/keys/import", body(map[string]string{"alg": "ES256", "private_key": secret.jwk}), 201, "key.imported"},
		{"revoke_all", "POST", "/keys/revoke-all", `{"reason":"compromised"}`, 200, "key.revoked"},
		{"purge", "POST", "/keys/purge", `{}`, 200, "key.purged"},
		{"relax", "PATCH", "", `{"approval_required":["delete"]}`, 200, "tenant.updated"},
		{"delete", "DELETE", "", "", 204, "tenant.deleted"},
	} {
		path := "/v1/tenants/acme" + op.path
		before := scalar[string](w, `SELECT string_agg(k::text, ' ' ORDER BY kid) FROM keys k`)
		a := w.request(op.method, path, first, op.body)
		if string(a.Operation) != op.operation {
			t.Errorf("%s: %s", op.operation, a.Operation)
		}
		w.do(op.method, path, first, op.body, bringing(a)...).problem(ProblemCodeConflict)
		w.decided(a, first, "approve").problem(ProblemCodeForbidden)
		w.decided(a, second, "approve").ok(200)
		w.decided(a, second, "reject").problem(ProblemCodeConflict)
		w.do(op.method, path, second, op.body, bringing(a)...).problem(ProblemCodeForbidden)
		w.do(op.method, path+"?x=", first, op.body, bringing(a)...).problem(ProblemCodeInvalidRequest)
		if after := scalar[string](w, `SELECT string_agg(k::text, ' ' ORDER BY kid) FROM keys k`); after != before {
			t.Errorf("%s: keys changed without approval", op.operation)
		}
		w.do(op.method, path, first, op.body, bringing(a)...).ok(op.status)
		type names struct {
			ID         uuid.UUID `json:"id"`
			ApprovedBy Actor     `json:"approved_by"`
		}
		var got names
		details := scalar[string](w, `SELECT details->>'approval' FROM audit_events WHERE tenant_id = $1 AND action = $2
			ORDER BY seq DESC LIMIT 1`, acme.ID, op.action)
		if err := json.Unmarshal([]byte(details), &got); err != nil || got.ID != a.ID || got.ApprovedBy.ID == a.RequestedBy.ID || got.ApprovedBy.ID != keyID(second) {
			t.Errorf("%s: approval in the history: %s", op.operation, details)
		}
		if actor := scalar[string](w, `SELECT actor_id FROM audit_events WHERE tenant_id = $1 AND action = $2 ORDER BY seq DESC LIMIT 1`,
			acme.ID, op.action); actor != keyID(first) {
			t.Errorf("%s: done by %s", op.operation, actor)
		}
	}
	for _, action := range []string{"requested", "approved", "used"} {
		if n := scalar[int](w, `SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND action = $2`, acme.ID, "approval."+action); n != 5 {
			t.Errorf("approval.%s: %d times", action, n)
		}
	}
}

// keyID is the id in an API key, which has no hyphens there.
func keyID(key string) string {
	return uuid.MustParse(strings.Split(key, "_")[1]).String()
}

// Of an import that waits nothing is kept but a digest.
func TestApprovalKeepsNoBody(t *testing.T) {
	w := newWorld(t)
	_, first, _ := guardedTenant(w)
	secret := foreignEC(t)
	var jwk struct{ D string }
	if err := json.Unmarshal([]byte(secret.jwk), &jwk); err != nil {
		t.Fatal(err)
	}
	w.request("POST", "/v1/tenants/acme/keys/import", first, body(map[string]string{"alg": "ES256", "private_key": secret.jwk, "kid": "waits-for-a-yes"}))
	for _, needle := range []string{jwk.D, "waits-for-a-yes", "private_key"} {
		n := scalar[int](w, `SELECT (SELECT count(*) FROM approvals a WHERE strpos(a::text, $1) > 0)
			+ (SELECT count(*) FROM audit_events e WHERE strpos(e::text, $1) > 0) + (SELECT count(*) FROM idempotency_keys i WHERE strpos(i::text, $1) > 0)`, needle)
		if n != 0 || strings.Contains(w.log.String(), needle) {
			t.Errorf("%s… of the body is kept", needle[:5])
		}
	}
}

// An approval is for one request, for a day, once.
func TestApprovalLimits(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	const path, reason = "/v1/tenants/acme/keys/revoke-all", `{"reason":"compromised"}`

	a := w.request("POST", path, first, reason)
	w.decided(a, second, "approve").ok(200)
	w.do("POST", path, first, `{"reason":"unspecified"}`, bringing(a)...).problem(ProblemCodeConflict)
	w.do("POST", "/v1/tenants/acme/keys/purge", first, "", bringing(a)...).problem(ProblemCodeConflict)
	w.do("POST", path, first, reason, "Keyward-Approval", nowhere).problem(ProblemCodeNotFound)
	w.do("POST", path, first, reason, "Keyward-Approval", "x").problem(ProblemCodeInvalidRequest)

	results := make([]int, 20)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = w.do("POST", path, first, reason, bringing(a)...).StatusCode })
	}
	all.Wait()
	won := 0
	for _, status := range results {
		if status == http.StatusOK {
			won++
		} else if status != http.StatusConflict {
			t.Errorf("answered %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d of 20 requests used one approval", won)
	}

	no := w.request("POST", path, first, reason)
	w.decided(no, second, "reject").ok(200)
	w.do("POST", path, first, reason, bringing(no)...).problem(ProblemCodeConflict)

	late, never := w.request("POST", path, first, reason), w.request("POST", path, first, reason)
	w.decided(late, second, "approve").ok(200)
	w.clock.pass(tenant.ApprovalLifetime)
	w.do("POST", path, first, reason, bringing(late)...).problem(ProblemCodeConflict)
	w.decided(never, second, "approve").problem(ProblemCodeConflict)

	for status, want := range map[string]int{"pending": 0, "approved": 0, "rejected": 1, "used": 1, "expired": 2} {
		var list ApprovalList
		if w.do("GET", "/v1/tenants/acme/approvals?status="+status, first, "").ok(200, &list); len(list.Items) != want {
			t.Errorf("%s: %d approvals, want %d", status, len(list.Items), want)
		}
	}
	var got Approval
	w.do("GET", "/v1/tenants/"+acme.ID.String()+"/approvals/"+late.ID.String(), first, "").ok(200, &got)
	if got.Status != ApprovalStatusExpired || got.DecidedBy == nil || got.DecidedBy.ID != keyID(second) {
		t.Errorf("%+v", got)
	}
}

// Who may not do an operation may not agree to it either, previews and additions
// need nobody, and a list that grows meanwhile is not taken apart.
func TestApprovalRoles(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	a := w.request("DELETE", "/v1/tenants/acme", first, "")
	w.decided(a, admin, "approve").problem(ProblemCodeForbidden)
	w.decided(a, second, "approve").ok(200)
	w.do("POST", "/v1/tenants/acme/keys/revoke-all?dry_run=true", admin, `{"reason":"compromised"}`).ok(200)

	for _, body := range []string{`{"approval_required":null}`, `{"approval_required":["purge"]}`} {
		w.request("PATCH", "/v1/tenants/acme", admin, body)
	}
	w.do("PATCH", "/v1/tenants/acme", admin, `{"approval_required":["purge","import","revoke_all","delete"],"name":"A"}`).ok(200)
	for _, bad := range []string{`["purge","purge"]`, `["relax"]`, `["x"]`, `"purge"`} {
		w.do("PATCH", "/v1/tenants/acme", admin, `{"approval_required":`+bad+`}`).problem(ProblemCodeInvalidRequest)
	}
	_, err := w.tenants.Update(t.Context(), operator, acme.ID, tenant.Change{ApprovalRequired: tenant.Some[[]tenant.Operation](nil)})
	if p, _ := problemOf(err); p.Code != ProblemCodeConflict {
		t.Errorf("relaxed without approval: %v", err)
	}

	w.tenant("free")
	w.do("POST", "/v1/tenants/free/keys/purge", w.root, "").ok(200)
	w.do("PATCH", "/v1/tenants/free", w.root, `{"approval_required":["purge"]}`).ok(200)
	w.do("POST", "/v1/tenants/free/keys/purge", w.root, "").ok(202)
}

// The database refuses the same by itself.
func TestApprovalsInSQL(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	ask := func() Approval { return w.request("POST", "/v1/tenants/acme/keys/purge", first, "") }
	pending, approved, rejected := ask(), ask(), ask()
	w.decided(approved, second, "approve").ok(200)
	w.decided(rejected, second, "reject").ok(200)
	const decide = `UPDATE approvals SET status = 'approved', decided_at = %s, decider_type = requester_type, decider_id = %s, decider_name = '' WHERE id = '%s'`
	for rule, sql := range map[string]string{
		"approvals_second_person":     fmt.Sprintf(decide, "now()", "requester_id", pending.ID),
		"approvals_expires":           fmt.Sprintf(decide, "expires_at", "'other'", pending.ID),
		"approvals_transition":        fmt.Sprintf(`UPDATE approvals SET status = 'used', used_at = now() WHERE id = '%s'`, pending.ID),
		"approvals_identity":          fmt.Sprintf(`UPDATE approvals SET expires_at = expires_at + interval '1 day' WHERE id = '%s'`, approved.ID),
		"approvals_decision_stays":    fmt.Sprintf(`UPDATE approvals SET status = 'used', used_at = now(), decider_name = 'x' WHERE id = '%s'`, approved.ID),
		"approvals_change_is_audited": fmt.Sprintf(decide, "now()", "'other'", pending.ID),
		"approvals_never_deleted":     `DELETE FROM approvals`,
		"tenants_approval_required":   `UPDATE tenants SET approval_required = '{sign}', audit_seq = audit_seq + 1 WHERE slug = 'acme'`,
		"tenants_change_is_audited":   `UPDATE tenants SET approval_required = '{}' WHERE slug = 'acme'`,
	} {
		refusedBy(t, w.dsn, rule, sql)
	}
	refusedBy(t, w.dsn, "approvals_transition", fmt.Sprintf(`UPDATE approvals SET status = 'approved' WHERE id = '%s'`, rejected.ID))
}

func refusedBy(t *testing.T, dsn, rule, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); db.Constraint(err) != rule {
		t.Errorf("%s: %v", rule, err)
	}
}

package httpapi

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

const revokeAllPath, compromised = "/v1/tenants/acme/keys/revoke-all", `{"reason":"compromised"}`

// approved is an approval that second has given to first, of revoke-all.
func (w *world) approved(first, second string) Approval {
	w.t.Helper()
	a := w.request("POST", revokeAllPath, first, compromised)
	w.decided(a, second, "approve").ok(200)
	return a
}

// use brings an approval to the request that it is for.
func (w *world) use(a Approval, key string) *answer {
	w.t.Helper()
	return w.do("POST", revokeAllPath, key, compromised, bringing(a)...)
}

// An approval of one tenant is nothing in another: it is not there to be read,
// decided or used, and stays good where it belongs.
func TestApprovalIsForOneTenant(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	var other Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"other","approval_required":["revoke_all"]}`).ok(201, &other)
	a, pending := w.approved(first, second), w.request("POST", revokeAllPath, first, compromised)
	elsewhere := func(a Approval) string { return "/v1/tenants/other/approvals/" + a.ID.String() }
	admin := w.key(tenant.TenantAdmin, &other.ID)
	w.inert(func() {
		for _, key := range []string{first, second, admin} {
			w.do("POST", "/v1/tenants/other/keys/revoke-all", key, compromised, bringing(a)...).problem(ProblemCodeNotFound)
			w.do("GET", elsewhere(a), key, "").problem(ProblemCodeNotFound)
			w.do("POST", elsewhere(pending)+"/approve", key, "").problem(ProblemCodeNotFound)
			w.do("POST", elsewhere(pending)+"/reject", key, "").problem(ProblemCodeNotFound)
		}
		w.do("POST", "/v1/tenants/acme/approvals/"+pending.ID.String()+"/approve", admin, "").problem(ProblemCodeTenantNotFound)
	})
	w.use(a, first).ok(200)

	// The name goes to a new tenant; the approvals do not.
	left := w.approved(first, second)
	gone := w.request("DELETE", "/v1/tenants/acme", first, "")
	w.decided(gone, second, "approve").ok(200)
	w.do("DELETE", "/v1/tenants/acme", first, "", bringing(gone)...).ok(204)
	w.use(left, first).problem(ProblemCodeTenantNotFound)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","approval_required":["revoke_all","delete"]}`).ok(201)
	w.inert(func() {
		w.use(left, first).problem(ProblemCodeNotFound)
		w.do("DELETE", "/v1/tenants/acme", first, "", bringing(gone)...).problem(ProblemCodeNotFound)
		w.decided(pending, second, "approve").problem(ProblemCodeNotFound)
	})
}

// What is done is what was agreed to, byte for byte: of everything else in the
// same words, the approval is not used up.
func TestApprovalIsForOneRequest(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	byID := strings.Replace(revokeAllPath, "acme", acme.ID.String(), 1)
	a := w.approved(first, second)
	w.inert(func() {
		for _, c := range []struct{ path, body string }{
			{revokeAllPath, `{"reason":"superseded"}`},
			{revokeAllPath, `{"reason":"compromised","comment":"more"}`},
			{revokeAllPath, `{"reason": "compromised"}`},
			{revokeAllPath, compromised + " "},
			{revokeAllPath, "\n" + compromised},
			{revokeAllPath, `{"reason":"\u0063ompromised"}`},
			{revokeAllPath + "?dry_run=false", compromised},
			{revokeAllPath + "?", compromised},
			{byID, compromised},
		} {
			w.do("POST", c.path, first, c.body, bringing(a)...).problem(ProblemCodeConflict)
		}
		w.do("POST", "/v1/tenants/acme/keys/purge", first, compromised, bringing(a)...).problem(ProblemCodeInvalidRequest)
		w.do("POST", "/v1/tenants/acme/keys/purge", first, "", bringing(a)...).problem(ProblemCodeConflict)
		w.do("DELETE", "/v1/tenants/acme", first, "", bringing(a)...).problem(ProblemCodeConflict)
		w.do("PATCH", "/v1/tenants/acme", first, `{"approval_required":null}`, bringing(a)...).problem(ProblemCodeConflict)
		w.do("POST", revokeAllPath+"?dry_run=true", first, compromised, bringing(a)...).ok(200) // which uses nothing
	})
	w.use(a, first).ok(200)
	w.inert(func() { w.use(a, first).problem(ProblemCodeConflict) })
}

// The agreement of a key that was revoked counts no more, whether the tenant's or
// the platform's; that of one which is merely over does.
func TestApproverIsRevoked(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	ofTenant := w.key(tenant.TenantAdmin, &acme.ID)
	for approver, path := range map[string]string{second: "/v1/api-keys/", ofTenant: "/v1/tenants/acme/api-keys/"} {
		a := w.approved(first, approver)
		w.do("DELETE", path+keyID(approver), w.root, "").ok(204)
		w.inert(func() {
			p := w.use(a, first).problem(ProblemCodeConflict)
			if !strings.Contains(p.Detail, "revoked") {
				t.Errorf("%s", p.Detail)
			}
			w.decided(a, approver, "approve").problem(ProblemCodeUnauthenticated)
		})
	}
	var brief CreatedAPIKey
	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_admin","expires_at":"`+w.clock.now().Add(tenant.ApprovalLifetime/2).UTC().Format(time.RFC3339)+`"}`).ok(201, &brief)
	a := w.approved(first, brief.Key)
	w.clock.pass(tenant.ApprovalLifetime * 3 / 4)
	w.decided(a, brief.Key, "approve").problem(ProblemCodeUnauthenticated)
	w.use(a, first).ok(200)
}

// Whoever asked and was revoked uses nothing, and nobody else can in their place.
func TestRequesterIsRevoked(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	a := w.approved(first, second)
	w.do("DELETE", "/v1/api-keys/"+keyID(first), w.root, "").ok(204)
	w.inert(func() {
		w.use(a, first).problem(ProblemCodeUnauthenticated)
		w.use(a, second).problem(ProblemCodeForbidden)
		w.use(a, w.root).problem(ProblemCodeForbidden)
	})
}

// Of many at once, on two servers, one decides and one executes; the history has
// each once.
func TestApprovalRacesOnTwoServers(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	third := w.key(tenant.PlatformAdmin, nil)
	servers := []*world{w, nil}
	servers[1], _ = w.replica(t)
	const n = 12
	race := func(ask func(w *world, i int) *answer) (won []int) {
		t.Helper()
		var all sync.WaitGroup
		codes := make([]int, n)
		for i := range codes {
			all.Go(func() { codes[i] = ask(servers[i%2], i/2).StatusCode })
		}
		all.Wait()
		for i, code := range codes {
			if code == http.StatusOK {
				won = append(won, i)
			} else if code != http.StatusConflict {
				t.Errorf("answered %d", code)
			}
		}
		return won
	}
	for range 3 {
		a := w.request("POST", revokeAllPath, first, compromised)
		word := func(i int) string { return []string{"approve", "reject"}[i/2%2] }
		won := race(func(w *world, i int) *answer {
			return w.decided(a, []string{second, third}[i%2], word(2*i))
		})
		var got Approval
		w.do("GET", "/v1/tenants/acme/approvals/"+a.ID.String(), first, "").ok(200, &got)
		if len(won) != 1 || (got.Status == ApprovalStatusApproved) != (word(2*(won[0]/2)) == "approve") {
			t.Fatalf("decided by %v: %+v", won, got)
		}
		if got.Status != ApprovalStatusApproved {
			w.use(a, first).problem(ProblemCodeConflict)
			a = w.approved(first, second)
		}
		before := len(w.keys("acme", KeyStateRevoked))
		if won := race(func(w *world, _ int) *answer { return w.use(a, first) }); len(won) != 1 {
			t.Errorf("%d of %d requests used one approval", len(won), n)
		}
		if after := len(w.keys("acme", KeyStateRevoked)); after != before+2 { // the active and the standby key
			t.Errorf("%d keys were revoked", after-before)
		}
	}
	if n := scalar[int](w, `SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND action = 'approval.used'`, acme.ID); n != 3 {
		t.Errorf("used %d times in the history", n)
	}
}

// An operation that fails has used its approval up, and says so in the history:
// nobody is surprised by it later.
func TestApprovalOfWhatFails(t *testing.T) {
	w := newWorld(t)
	acme, first, second := guardedTenant(w)
	secret := foreignEC(t)
	text := body(map[string]string{"alg": "ES256", "private_key": secret.jwk})
	var waiting []Approval
	for range 2 {
		a := w.request("POST", "/v1/tenants/acme/keys/import", first, text)
		w.decided(a, second, "approve").ok(200)
		waiting = append(waiting, a)
	}
	w.do("POST", "/v1/tenants/acme/keys/import", first, text, bringing(waiting[0])...).ok(201)
	for range 2 { // the key is there already, then the approval is used
		w.do("POST", "/v1/tenants/acme/keys/import", first, text, bringing(waiting[1])...).problem(ProblemCodeConflict)
	}
	if n := scalar[int](w, `SELECT count(*) FROM audit_events WHERE tenant_id = $1 AND action = 'approval.used'`, acme.ID); n != 2 {
		t.Errorf("used %d times", n)
	}
}

// What nobody decided or used in time is listed for ever, and is nobody's any
// more.
func TestExpiredApprovalsStay(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	used, approved := w.approved(first, second), w.approved(first, second)
	pending := w.request("POST", revokeAllPath, first, compromised)
	w.use(used, first).ok(200)
	w.clock.pass(400 * 24 * tenant.ApprovalLifetime)
	var expired, all ApprovalList
	w.do("GET", "/v1/tenants/acme/approvals?status=expired", first, "").ok(200, &expired)
	w.do("GET", "/v1/tenants/acme/approvals", first, "").ok(200, &all)
	if len(all.Items) != 3 || len(expired.Items) != 2 || expired.Items[0].ID != pending.ID || expired.Items[1].ID != approved.ID {
		t.Errorf("%+v", all)
	}
	w.inert(func() {
		w.use(approved, first).problem(ProblemCodeConflict)
		for _, word := range []string{"approve", "reject"} {
			w.decided(pending, second, word).problem(ProblemCodeConflict)
		}
	})
	if size := scalar[int](w, `SELECT max(pg_column_size(a.*)) FROM approvals a`); size > 500 {
		t.Errorf("a row of %d bytes: docs/access.md says less", size)
	}
}

// An import whose answer was lost is answered again, though its approval is used;
// and nothing else is done with that.
func TestApprovedImportIsRepeated(t *testing.T) {
	w := newWorld(t)
	_, first, second := guardedTenant(w)
	const path = "/v1/tenants/acme/keys/import"
	secret := body(map[string]string{"alg": "ES256", "private_key": foreignEC(t).jwk})
	a := w.request("POST", path, first, secret)
	w.decided(a, second, "approve").ok(200)
	named := func(name string) []string { return append(bringing(a), "Idempotency-Key", name) }
	var made, again Key
	w.do("POST", path, first, secret, named("one")...).ok(201, &made)
	w.inert(func() {
		if w.do("POST", path, first, secret, named("one")...).ok(201, &again); again.KID != made.KID {
			t.Errorf("%s, and then %s", made.KID, again.KID)
		}
		w.do("POST", path, first, secret, named("another")...).problem(ProblemCodeConflict)
		w.do("POST", path, first, secret, bringing(a)...).problem(ProblemCodeConflict)
	})
}

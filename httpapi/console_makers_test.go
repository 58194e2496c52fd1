package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"
)

// madeOnPage creates an API key by the console's form and returns the key.
func (s *surfer) madeOnPage(path, nonce, role, name string) string {
	s.w.t.Helper()
	p := s.post(path, "role", role, "name", name, "nonce", nonce).is(http.StatusOK).has("Copy the new key now")
	key := regexp.MustCompile(`kw_[0-9a-f]{32}_[a-z2-7]{52}`).FindString(p.Body)
	if key == "" {
		s.w.t.Fatal("no key is shown")
	}
	return key
}

// Whoever makes a credential by the console is its maker, as by the API: the page names them,
// the new credential does not decide about its maker's requests or those of what its maker made
// elsewhere, and it is revoked with its maker.
func TestConsoleMakers(t *testing.T) {
	w := newWorld(t)
	guardedTenant(w)
	const keys, page = "/v1/tenants/acme/api-keys", "/console/tenants/acme/api-keys"
	maker := w.made(keys, w.root, `{"role":"tenant_admin","name":"maker"}`)
	s := w.signedIn(maker.Key)
	child := s.madeOnPage(page, "n1", "tenant_admin", "child")
	grandchild := w.signedIn(child).madeOnPage(page, "n2", "tenant_admin", "grandchild")
	sibling := w.made(keys, maker.Key, `{"role":"tenant_admin","name":"sibling"}`)
	var list APIKeyList
	w.do("GET", keys, w.root, "").ok(200, &list)
	made := map[string]string{} // the maker's id, by the name of what it made
	ids := map[string]string{}
	for _, k := range list.Items {
		ids[k.Name] = k.ID.String()
		if k.CreatedBy == nil || k.CreatedBy.Type != "api_key" {
			t.Fatalf("%s is made by %+v", k.Name, k.CreatedBy)
		}
		made[k.Name] = k.CreatedBy.ID
	}
	if made["child"] != maker.ID.String() || made["sibling"] != maker.ID.String() || made["grandchild"] != ids["child"] {
		t.Errorf("makers: %v", made)
	}
	shown := s.get(page)
	for name, id := range map[string]string{"maker": maker.ID.String(), "child": ids["child"]} {
		shown.has(fmt.Sprintf(`by %s <span class="small muted mono">%s</span>`, name, id))
	}
	for _, c := range []struct{ requester, approver string }{{maker.Key, child}, {child, maker.Key}, {sibling.Key, child}, {maker.Key, grandchild}} {
		a := w.request("POST", revokeAllPath, c.requester, compromised)
		approver := w.signedIn(c.approver)
		w.inert(func() {
			w.decided(a, c.approver, "approve").problem(ProblemCodeForbidden)
			approver.post("/console/tenants/acme/approvals/"+a.ID.String(), "do", "approve").is(422).has("You may not decide")
		})
	}
	w.signedIn(w.root).post(page+"/revoke", "id", maker.ID.String(), "children", "1").is(http.StatusOK).has("is revoked")
	for _, key := range []string{maker.Key, child, grandchild, sibling.Key} {
		w.do("GET", "/v1/tenants/acme", key, "").problem(ProblemCodeUnauthenticated)
	}
	if p := s.get(page); p.Path == page {
		t.Error("the console session outlives its credential")
	}
}

package httpapi

import (
	"testing"
	"time"
)

// made is a credential that key makes through the API.
func (w *world) made(path, key, body string) (out CreatedAPIKey) {
	w.t.Helper()
	w.do("POST", path, key, body).ok(201, &out)
	return out
}

// One administrator is not two people: neither a key that they made, nor one made by
// the same key, nor the key that made theirs, nor one made for the purpose approves.
func TestOnePersonIsNotTwo(t *testing.T) {
	w := newWorld(t)
	acme, root, _ := guardedTenant(w)
	const keys, admin = "/v1/tenants/acme/api-keys", `{"role":"tenant_admin"}`
	first, colleague := w.made(keys, root, admin).Key, w.made(keys, root, admin).Key
	second := w.made(keys, first, admin).Key
	sibling, grandchild := w.made(keys, first, admin).Key, w.made(keys, second, admin).Key
	platform := w.made("/v1/api-keys", root, `{"role":"platform_admin"}`).Key
	_ = acme
	for _, c := range []struct{ name, requester, approver string }{
		{"its own child", first, second},
		{"its grandchild", first, grandchild},
		{"its maker", second, first},
		{"its maker's maker", grandchild, first},
		{"its sibling", second, sibling},
		{"a tenant's key that the platform's made", root, colleague},
		{"a platform's key that it made", root, platform},
		{"the platform's key that made it", platform, root},
	} {
		a := w.request("POST", revokeAllPath, c.requester, compromised)
		w.inert(func() { w.decided(a, c.approver, "approve").problem(ProblemCodeForbidden) })
	}
	a := w.request("POST", revokeAllPath, first, compromised)
	late := w.made(keys, root, admin).Key
	w.inert(func() { w.decided(a, late, "approve").problem(ProblemCodeForbidden) })
	w.decided(a, colleague, "approve").ok(200)
	w.use(a, first).ok(200)
	a = w.request("POST", revokeAllPath, first, compromised)
	w.decided(a, root, "approve").ok(200) // a tenant's request, by the platform
}

// A credential that ends makes none that does not, or later.
func TestCredentialDoesNotOutliveItsMaker(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const keys = "/v1/tenants/acme/api-keys"
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	at := func(d time.Duration) string {
		return `{"role":"tenant_admin","expires_at":"` + ends.Add(d).Format(time.RFC3339) + `"}`
	}
	maker := w.made(keys, w.root, at(0))
	for _, body := range []string{`{"role":"tenant_admin"}`, `{"role":"tenant_signer"}`, at(time.Second)} {
		if p := w.do("POST", keys, maker.Key, body).problem(ProblemCodePolicyViolation); len(p.Errors) != 1 || p.Errors[0].Field != "expires_at" {
			t.Errorf("%s: %+v", body, p)
		}
	}
	child := w.made(keys, maker.Key, at(0))
	w.do("POST", keys, child.Key, at(time.Second)).problem(ProblemCodePolicyViolation)

	var list APIKeyList
	w.do("GET", keys, w.root, "").ok(200, &list)
	for _, k := range list.Items {
		if k.ID == child.ID && (k.CreatedBy == nil || k.CreatedBy.ID != maker.ID.String()) || k.CreatedBy == nil {
			t.Errorf("made by %+v", k.CreatedBy)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("%d keys", len(list.Items))
	}
}

// The same holds for keys of the platform.
func TestPlatformKeyDoesNotOutliveItsMaker(t *testing.T) {
	w := newWorld(t)
	const keys = "/v1/api-keys"
	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	maker := w.made(keys, w.root, `{"role":"platform_admin","expires_at":"`+ends+`"}`)
	if p := w.do("POST", keys, maker.Key, `{"role":"platform_auditor"}`).problem(ProblemCodePolicyViolation); len(p.Errors) != 1 || p.Errors[0].Field != "expires_at" {
		t.Errorf("%+v", p)
	}
}

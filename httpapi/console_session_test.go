package httpapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

// sessionCookie is the cookie of a surfer, as the answer to the sign-in set it.
func (s *surfer) sessionCookie() string {
	s.w.t.Helper()
	u, err := url.Parse(s.w.url + "/console")
	if err != nil {
		s.w.t.Fatal(err)
	}
	for _, c := range s.http.Jar.Cookies(u) {
		if c.Name == "keyward_console" {
			return c.Value
		}
	}
	return ""
}

// The key is kept neither in the cookie nor in the database, and the token only as
// a hash.
func TestConsoleSessionsHideTheirSecrets(t *testing.T) {
	w := newWorld(t)
	s := w.surfer()
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := s.post("/console/sign-in", "key", w.root, "next", "/console/platform").is(http.StatusSeeOther)
	if to := p.Header.Get("Location"); to != "/console/platform" {
		t.Errorf("sent to %q", to)
	}
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=43"} {
		if c := p.Header.Get("Set-Cookie"); !strings.Contains(c, part) {
			t.Errorf("cookie %q has no %s", c, part)
		}
	}
	token := s.sessionCookie()
	if len(token) < 43 || strings.Contains(w.root, token) || strings.Contains(token, w.root[40:]) {
		t.Errorf("token %q", token)
	}
	rows := scalar[string](w, `SELECT string_agg(s::text, '|') FROM console_sessions s`)
	if rows == "" || strings.Contains(rows, token) || strings.Contains(rows, w.root[36:]) {
		t.Errorf("the database has %s", rows)
	}
	for _, away := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "/v1/tenants", "javascript:alert(1)", "/console/sign-out", "/console/../v1/tenants", "/console/%2e%2e/v1/tenants", "/console/..//evil.example", "/console//evil.example"} {
		if to := w.goesOnAt(away); to != "/console" {
			t.Errorf("%q leads to %q", away, to)
		}
	}
}

// goesOnAt signs in with somewhere to go on, and returns where that leads.
func (w *world) goesOnAt(next string) string {
	w.t.Helper()
	s := w.surfer()
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s.post("/console/sign-in", "key", w.root, "next", next).Header.Get("Location")
}

func TestConsoleSessionsEnd(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	in := func(s *surfer) bool { return !strings.HasPrefix(s.get("/console/account").Path, "/console/sign-in") }
	for name, end := range map[string]func(key string, s *surfer){
		"signed out":            func(_ string, s *surfer) { s.post("/console/sign-out").is(http.StatusOK) },
		"signed out everywhere": func(key string, _ *surfer) { w.signedIn(key).post("/console/sign-out-everywhere").is(http.StatusOK) },
		"key revoked": func(key string, _ *surfer) {
			id := key[3:11] + "-" + key[11:15] + "-" + key[15:19] + "-" + key[19:23] + "-" + key[23:35]
			w.do("DELETE", "/v1/tenants/acme/api-keys/"+id, w.root, "").ok(204)
		},
		"idle": func(string, *surfer) { w.clock.pass(tenant.SessionIdle + time.Second) },
	} {
		key := w.key(tenant.TenantAdmin, &acme.ID)
		s := w.signedIn(key)
		if !in(s) {
			t.Errorf("%s: not signed in before", name)
		}
		token := s.sessionCookie()
		end(key, s)
		again := w.surfer()
		u, _ := url.Parse(w.url + "/console")
		again.http.Jar.SetCookies(u, []*http.Cookie{{Name: "keyward_console", Value: token, Path: "/console"}})
		if in(s) || in(again) {
			t.Errorf("%s: still signed in", name)
		}
	}
	s := w.signedIn(w.key(tenant.TenantAdmin, &acme.ID))
	for range 13 * 60 / 25 { // never idle, and yet it ends
		w.clock.pass(25 * time.Minute)
		s.get("/console/account")
	}
	if in(s) {
		t.Error("a session lasts longer than twelve hours")
	}
	last := w.signedIn(w.key(tenant.TenantAdmin, &acme.ID))
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	if in(last) {
		t.Error("a deleted tenant's session lives")
	}
	events := w.do("GET", "/v1/audit?tenant="+acme.ID.String()+"&action=session.created", w.root, "")
	var list AuditEventList
	events.ok(200, &list)
	if len(list.Items) == 0 || list.Items[0].Actor.Name != string(tenant.TenantAdmin) {
		t.Errorf("sign-ins in the history: %+v", list.Items)
	}
}

// A page that refreshes itself does not keep a session alive.
func TestConsoleRefreshesDoNotExtend(t *testing.T) {
	w := newWorld(t)
	s := w.signedIn(w.root)
	for range 3 {
		w.clock.pass(11 * time.Minute)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/console/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Console-Refresh", "1")
		s.send(r)
	}
	if p := s.get("/console/account"); !strings.HasPrefix(p.Path, "/console/sign-in") {
		t.Errorf("%s: still signed in", p.Path)
	}
}

// What another site makes a browser send changes nothing.
func TestConsoleRefusesOtherSites(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := w.signedIn(w.root)
	before := w.state()
	for _, path := range []string{"/console/sign-out", "/console/tenants/acme/act/rotate", "/console/tenants/acme/act/suspend", "/console/new-tenant", "/console/sign-in"} {
		for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader("slug=evil&alg=ES256"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header, value)
			s.send(r).is(http.StatusForbidden).has("another site")
		}
	}
	if w.state() != before {
		t.Error("something has changed")
	}
	if p := s.get("/console/account"); strings.HasPrefix(p.Path, "/console/sign-in") {
		t.Error("signed out by another site")
	}
	for _, path := range []string{"/console/tenants/acme/act/rotate", "/console/sign-out"} { // a link changes nothing either
		s.get(path)
	}
	if w.state() != before {
		t.Error("a GET has changed something")
	}
}

// Failed sign-ins share the limit of the API's failed authentications.
func TestConsoleFailedSignInsAreLimited(t *testing.T) {
	w := newWorld(t)
	s := w.surfer()
	limited := 0
	for range 30 {
		p := s.post("/console/sign-in", "key", "kw_"+strings.Repeat("0", 32)+"_"+strings.Repeat("a", 52))
		switch p.Status {
		case http.StatusUnauthorized:
			p.has("not valid")
		case http.StatusTooManyRequests:
			limited++
			p.has("Too many failed sign-ins")
		default:
			t.Fatalf("%d", p.Status)
		}
	}
	if limited == 0 {
		t.Error("thirty wrong keys and no limit")
	}
	var list AuditEventList
	w.becomes("a failed sign-in is in the history", func() bool {
		w.do("GET", "/v1/audit?action=authorization.denied", w.root, "").ok(200, &list)
		return len(list.Items) > 0
	})
	if e := list.Items[0]; e.Actor.ID != "00000000-0000-0000-0000-000000000000" || !strings.Contains(string(e.Details), `"authenticated":false`) || !strings.Contains(string(e.Details), `"signIn"`) || len(list.Items) > 10 {
		t.Errorf("failed sign-ins in the history: %+v", list.Items)
	}
	if p := w.do("GET", "/v1/tenants", "kw_"+strings.Repeat("0", 32)+"_"+strings.Repeat("a", 52), ""); p.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the API has a limit of its own: %d", p.StatusCode)
	}
	w.signedIn(w.root) // whoever has a valid key is not kept out
}

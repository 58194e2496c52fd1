package httpapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/net/html"

	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/tenant"
)

// consoleRoute is a route of the console with addresses of it for a tenant acme. KID, REVOKED, HOOK,
// HOOK-OF-ALL, CREDENTIAL, CREDENTIAL-OF-ACME, WORKLOAD, APPROVAL and PEM in them stand for something that is there.
type consoleRoute struct {
	pattern string
	at      []string
	outside bool // for people who are not signed in
	file    bool // answers no page: a download, a stream, a redirection
	live    bool // changes appear on it without a reload

	// Of a form:
	operation string   // of openapi.yaml; "": everybody may send it
	on        string   // the page that has it, if that is not the address itself
	enter     []string // what people enter, names and values in turn
	says      string   // the page that follows
}

// A short policy, as people enter it.
var enteredPolicy = []string{
	"rotation_interval_seconds", "20d", "publish_lead_seconds", "1d", "grace_period_seconds", "7d", "purge_after_seconds", "90d", "default_token_ttl_seconds", "15m", "max_token_ttl_seconds", "1d",
}

// consoleRoutes lists every route. The forms are in an order in which each can be sent
// after those before it.
var consoleRoutes = []consoleRoute{
	{pattern: "GET /console/static/{file}", at: []string{"/console/static/console.css", "/console/static/console.js", "/console/static/icon.svg"}, outside: true, file: true},
	{pattern: "GET /console/sign-in", at: []string{"/console/sign-in"}, outside: true},
	{pattern: "POST /console/sign-in", at: []string{"/console/sign-in"}, outside: true},
	{pattern: "GET /console/oidc/start", at: []string{"/console/oidc/start"}, outside: true, file: true},
	{pattern: "GET /console/oidc/callback", at: []string{"/console/oidc/callback"}, outside: true, file: true},

	{pattern: "GET /console/account", at: []string{"/console/account"}},
	{pattern: "GET /console/events", at: []string{"/console/events", "/console/events?tenant=acme"}, file: true},
	{pattern: "GET /console/{$}", at: []string{"/console/"}, file: true},
	{pattern: "GET /console", at: []string{"/console"}, file: true},

	{pattern: "GET /console/tenants", at: []string{"/console/tenants"}, live: true},
	{pattern: "GET /console/new-tenant", at: []string{"/console/new-tenant"}},
	{pattern: "GET /console/history", at: []string{"/console/history"}, live: true},
	{pattern: "GET /console/history/export", at: []string{"/console/history/export?format=csv"}, file: true},
	{pattern: "GET /console/history/checkpoint", at: []string{"/console/history/checkpoint"}, file: true},
	{pattern: "GET /console/platform", at: []string{"/console/platform"}, live: true},
	{pattern: "GET /console/approvals", at: []string{"/console/approvals"}, live: true},
	{pattern: "GET /console/incident", at: []string{"/console/incident?q=acme", "/console/incident?kid=KID", "/console/incident?alg=ES256&before=2100-01-01T00:00&reason=superseded"}, live: true},
	{pattern: "GET /console/platform/api-keys", at: []string{"/console/platform/api-keys"}, live: true},
	{pattern: "GET /console/platform/webhooks", at: []string{"/console/platform/webhooks"}, live: true},
	{pattern: "GET /console/platform/webhooks/{webhook}", at: []string{"/console/platform/webhooks/HOOK-OF-ALL"}, live: true},

	{pattern: "GET /console/tenants/{tenant}", at: []string{"/console/tenants/acme"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/keys", at: []string{"/console/tenants/acme/keys"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/key", at: []string{"/console/tenants/acme/key?kid=KID"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/revoked", at: []string{"/console/tenants/acme/revoked?kid=REVOKED"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/policies", at: []string{"/console/tenants/acme/policies"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/policies/{alg}", at: []string{"/console/tenants/acme/policies/ES256", "/console/tenants/acme/policies/EdDSA"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/verifiers", at: []string{"/console/tenants/acme/verifiers?for=spring"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/domains", at: []string{"/console/tenants/acme/domains"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/settings", at: []string{"/console/tenants/acme/settings"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/history", at: []string{"/console/tenants/acme/history?verify=1"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/history/export", at: []string{"/console/tenants/acme/history/export?format=ndjson"}, file: true},
	{pattern: "GET /console/tenants/{tenant}/history/checkpoint", at: []string{"/console/tenants/acme/history/checkpoint"}, file: true},
	{pattern: "GET /console/tenants/{tenant}/approvals", at: []string{"/console/tenants/acme/approvals", "/console/tenants/acme/approvals?approval=APPROVAL"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/api-keys", at: []string{"/console/tenants/acme/api-keys"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/workloads", at: []string{"/console/tenants/acme/workloads"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/webhooks", at: []string{"/console/tenants/acme/webhooks"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/webhooks/{webhook}", at: []string{"/console/tenants/acme/webhooks/HOOK"}, live: true},
	{pattern: "GET /console/tenants/{tenant}/act/{act}", at: []string{
		"/console/tenants/acme/act/rotate", "/console/tenants/acme/act/revoke?kid=KID", "/console/tenants/acme/act/retire?alg=RS256", "/console/tenants/acme/act/revoke-all",
		"/console/tenants/acme/act/suspend", "/console/tenants/acme/act/resume", "/console/tenants/acme/act/purge", "/console/tenants/acme/act/import", "/console/tenants/acme/act/delete",
	}},

	{pattern: "POST /console/new-tenant", at: []string{"/console/new-tenant"}, operation: "createTenant", enter: append([]string{"slug", "new", "alg", "ES256"}, enteredPolicy...), says: "The tenant is there"},
	{pattern: "POST /console/platform/api-keys", at: []string{"/console/platform/api-keys"}, operation: "createPlatformAPIKey", enter: []string{"role", "platform_auditor"}, says: "Copy the new key now"},
	{pattern: "POST /console/platform/api-keys/revoke", at: []string{"/console/platform/api-keys/revoke"}, operation: "revokePlatformAPIKey", on: "/console/platform/api-keys", enter: []string{"id", "CREDENTIAL"}, says: "The API key is revoked"},
	{pattern: "POST /console/platform/webhooks", at: []string{"/console/platform/webhooks"}, operation: "createPlatformWebhook", enter: []string{"url", "https://hooks.example.com/new"}, says: "hooks.example.com/new"},
	{pattern: "POST /console/platform/webhooks/{webhook}", at: []string{"/console/platform/webhooks/HOOK-OF-ALL"}, operation: "updatePlatformWebhook", enter: []string{"do", "disable"}, says: "disabled"},
	{pattern: "POST /console/tenants/{tenant}/policies/{alg}", at: []string{"/console/tenants/acme/policies/ES256"}, operation: "putPolicy", enter: append([]string{"do", "save"}, enteredPolicy...), says: "The policy is saved"},
	{pattern: "POST /console/tenants/{tenant}/settings", at: []string{"/console/tenants/acme/settings"}, operation: "updateTenant", enter: []string{"name", "Acme"}, says: "Saved."},
	{pattern: "POST /console/tenants/{tenant}/domains", at: []string{"/console/tenants/acme/domains"}, operation: "addDomain", enter: []string{"do", "claim", "domain", "id.acme.example"}, says: "is claimed"},
	{pattern: "POST /console/tenants/{tenant}/approvals/{approval}", at: []string{"/console/tenants/acme/approvals/APPROVAL"}, operation: "approveApproval", on: "/console/tenants/acme/approvals", enter: []string{"do", "approve"}, says: "Your decision is recorded"},
	{pattern: "POST /console/tenants/{tenant}/api-keys", at: []string{"/console/tenants/acme/api-keys"}, operation: "createTenantAPIKey", enter: []string{"role", "tenant_auditor"}, says: "Copy the new key now"},
	{pattern: "POST /console/tenants/{tenant}/api-keys/revoke", at: []string{"/console/tenants/acme/api-keys/revoke"}, operation: "revokeTenantAPIKey", on: "/console/tenants/acme/api-keys", enter: []string{"id", "CREDENTIAL-OF-ACME"}, says: "The API key is revoked"},
	{pattern: "POST /console/tenants/{tenant}/workloads", at: []string{"/console/tenants/acme/workloads"}, operation: "createWorkloadIdentity", enter: []string{
		"role", "tenant_signer", "name", "new", "issuer", "https://ci.example.com", "audience", "keyward", "rules", "sub=job\nsub=other", "prefixes", "job=one:two:",
	}, says: "The workload identity is there"},
	{pattern: "POST /console/tenants/{tenant}/workloads/delete", at: []string{"/console/tenants/acme/workloads/delete"}, operation: "deleteWorkloadIdentity", on: "/console/tenants/acme/workloads", enter: []string{"id", "WORKLOAD"}, says: "The workload identity is deleted"},
	{pattern: "POST /console/tenants/{tenant}/webhooks", at: []string{"/console/tenants/acme/webhooks"}, operation: "createTenantWebhook", enter: []string{"url", "https://hooks.example.com/new"}, says: "hooks.example.com/new"},
	{pattern: "POST /console/tenants/{tenant}/webhooks/{webhook}", at: []string{"/console/tenants/acme/webhooks/HOOK"}, operation: "updateTenantWebhook", enter: []string{"do", "delete"}, says: "The webhook is deleted"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/rotate"}, operation: "rotateKeys", says: "Rotated"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/revoke"}, operation: "revokeKey", on: "/console/tenants/acme/act/revoke?kid=KID", says: "Done"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/retire"}, operation: "retirePolicy", on: "/console/tenants/acme/act/retire?alg=RS256", says: "The policy is retired"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/revoke-all"}, operation: "revokeAllKeys", enter: []string{"reason", "compromised", "confirm", "acme"}, says: "Done"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/suspend"}, operation: "updateTenant", says: "Suspended"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/resume"}, operation: "updateTenant", says: "Resumed"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/purge"}, operation: "purgeKeys", enter: []string{"confirm", "acme"}, says: "Nothing is done yet: this needs a second person"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/import"}, operation: "importKey", enter: []string{"kind", "private", "alg", "ES256", "material", "PEM"}, says: "What would be imported"},
	{pattern: "POST /console/tenants/{tenant}/act/{act}", at: []string{"/console/tenants/acme/act/delete"}, operation: "deleteTenant", enter: []string{"confirm", "acme"}, says: "is deleted"},
	{pattern: "POST /console/sign-out", at: []string{"/console/sign-out"}, on: "/console/account"},
	{pattern: "POST /console/sign-out-everywhere", at: []string{"/console/sign-out-everywhere"}, on: "/console/account"},
}

func (r consoleRoute) posts() bool { return strings.HasPrefix(r.pattern, "POST ") }

// ofTenant reports whether an address is one of the tenant acme's.
func ofTenant(path string) bool {
	return strings.HasPrefix(path, "/console/tenants/acme") || strings.HasSuffix(path, "tenant=acme")
}

// routes are consoleRoutes with the addresses of what they are about.
func (w *world) routes() []consoleRoute {
	w.t.Helper()
	acme := w.tenant("acme")
	w.do("PUT", "/v1/tenants/acme/policies/RS256", w.root, `{"rsa_bits":2048}`).ok(201)
	w.do("POST", "/v1/tenants/acme/domains", w.root, `{"domain":"a-rather-long-name-of-a-host.identity.acme.example"}`).ok(201)
	var hook, ofAll Webhook
	w.do("POST", "/v1/tenants/acme/webhooks", w.root, `{"url":"https://hooks.example.com/x"}`).ok(201, &hook)
	w.do("POST", "/v1/webhooks", w.root, `{"url":"https://hooks.example.com/all"}`).ok(201, &ofAll)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["purge"]}`).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/purge", w.key(tenant.TenantAdmin, &acme.ID), "").ok(202)
	var waiting ApprovalList
	w.do("GET", "/v1/tenants/acme/approvals?status=pending", w.root, "").ok(200, &waiting)
	if len(waiting.Items) != 1 {
		w.t.Fatalf("%d approvals wait", len(waiting.Items))
	}
	old := w.made("/v1/api-keys", w.root, `{"role":"platform_auditor","name":"old"}`)
	ofAcme := w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_auditor","name":"old"}`)
	identity := w.workload("/v1/tenants/acme", `{"name":"a-rather-long-name-of-a-workload","issuer":"https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF","audience":"keyward","rules":[{"claim":"sub","one_of":["system:serviceaccount:payments:api","system:serviceaccount:payments:worker"]},{"claim":"ref","prefix":"refs/heads/"}],"role":"tenant_signer"}`)
	for _, k := range w.keys("acme", KeyStateStandby) {
		if k.Alg == "RS256" { // to be purged, and missing
			w.do("POST", "/v1/tenants/acme/keys/"+k.KID+"/revoke", w.root, `{"reason":"superseded"}`).ok(200)
		}
	}
	fill := strings.NewReplacer("REVOKED", w.keys("acme", KeyStateRevoked)[0].KID, "KID", w.keys("acme", KeyStateActive)[0].KID, "HOOK-OF-ALL", ofAll.ID.String(), "HOOK", hook.ID.String(),
		"CREDENTIAL-OF-ACME", ofAcme.ID.String(), "CREDENTIAL", old.ID.String(), "WORKLOAD", identity.ID.String(), "APPROVAL", waiting.Items[0].ID.String(), "PEM", foreignEC(w.t).pem)
	routes := slices.Clone(consoleRoutes)
	for i, r := range routes {
		r.at, r.enter, r.on = slices.Clone(r.at), slices.Clone(r.enter), fill.Replace(cmp.Or(r.on, r.at[0]))
		for _, list := range [][]string{r.at, r.enter} {
			for j := range list {
				list[j] = fill.Replace(list[j])
			}
		}
		routes[i] = r
	}
	return routes
}

// everyPage are addresses of every page of the console for people who are signed in, for a
// tenant acme, which it makes.
func (w *world) everyPage() (pages []string) {
	w.t.Helper()
	for _, r := range w.routes() {
		if !r.posts() && !r.file && !r.outside {
			pages = append(pages, r.at...)
		}
	}
	return pages
}

// No route escapes the tests below: each is in consoleRoutes.
func TestEveryRouteOfTheConsoleIsTested(t *testing.T) {
	c, err := console.New(console.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, r := range consoleRoutes {
		listed[r.pattern] = true
		if r.posts() && !r.outside && r.says == "" && r.operation != "" {
			t.Errorf("%s: nothing says that it is done", r.pattern)
		}
	}
	for _, pattern := range c.Routes() {
		if !listed[pattern] {
			t.Errorf("%s is in no test", pattern)
		}
		delete(listed, pattern)
	}
	for pattern := range listed {
		t.Errorf("%s is no route", pattern)
	}
}

// Nothing is shown or done without a session, with one that was revoked, or for another site.
func TestConsoleRoutesNeedASession(t *testing.T) {
	w := newWorld(t)
	routes := w.routes()
	stranger, revoked, mine := w.surfer(), w.signedIn(w.key(tenant.PlatformAdmin, nil)), w.signedIn(w.root)
	for _, s := range []*surfer{stranger, revoked} {
		s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	credential := scalar[string](w, `SELECT id::text FROM api_keys WHERE name = 'platform_admin' AND tenant_id IS NULL ORDER BY created_at DESC LIMIT 1`)
	w.do("DELETE", "/v1/api-keys/"+credential, w.root, "").ok(204)
	before := w.changes()
	for _, r := range routes {
		if r.outside {
			continue
		}
		for _, path := range r.at {
			for who, s := range map[string]*surfer{"a stranger": stranger, "a revoked session": revoked} {
				p := s.visit(r, path)
				if to := p.Header.Get("Location"); (p.Status != http.StatusSeeOther || !strings.HasPrefix(to, "/console/sign-in")) && p.Status != http.StatusUnauthorized {
					t.Errorf("%s gets %d %q from %s %s", who, p.Status, to, r.pattern, path)
				}
				if strings.Contains(strings.ReplaceAll(p.Body, html.EscapeString(url.QueryEscape(path)), ""), "acme.example") {
					t.Errorf("%s sees %s", who, path)
				}
			}
			if r.posts() {
				mine.postFrom("cross-site", path, r.enter...).is(http.StatusForbidden).has("another site")
			}
		}
	}
	if w.changes() != before {
		t.Error("something has changed")
	}
}

// visit asks for an address as its route is used.
func (s *surfer) visit(r consoleRoute, path string) shownPage {
	s.w.t.Helper()
	if r.posts() {
		return s.post(path, r.enter...)
	}
	return s.get(path)
}

// To another tenant's people acme is a tenant that does not exist, on every route.
func TestConsoleRoutesIsolateTenants(t *testing.T) {
	w := newWorld(t)
	routes := w.routes()
	other := w.tenant("other")
	for _, role := range []tenant.Role{tenant.TenantAdmin, tenant.TenantAuditor} {
		s := w.signedIn(w.key(role, &other.ID))
		before := w.changes()
		for _, r := range routes {
			for _, path := range r.at {
				switch {
				case ofTenant(path):
					p, absent := s.visit(r, path), s.visit(r, strings.Replace(path, "acme", "nobody-here", 1))
					if p.Status != http.StatusNotFound && p.Status != http.StatusForbidden || p.Status != absent.Status || stripped(p.Body) != stripped(strings.ReplaceAll(absent.Body, "nobody-here", "acme")) {
						t.Errorf("%s: %s %s differs from a tenant that is not there:\n%s\n%s", role, r.pattern, path, p.Body, absent.Body)
					}
				case path == "/console/new-tenant", strings.HasPrefix(path, "/console/platform"), strings.HasPrefix(path, "/console/tenants"), strings.HasPrefix(path, "/console/history"), path == "/console/events":
					s.visit(r, path).is(http.StatusForbidden).lacks("acme.example", "hooks.example.com")
				}
			}
		}
		if after := w.changes(); after != before {
			t.Errorf("%s of another tenant has changed something:\n%s\n%s", role, before, after)
		}
	}
}

// Every form is sent by somebody whose browser runs no scripts, and does what it is for.
func TestConsoleFormsWithoutScripts(t *testing.T) {
	w := newWorld(t)
	routes := w.routes()
	s := w.signedIn(w.root)
	for _, r := range routes {
		if r.posts() && !r.outside {
			f := s.form(r)
			s.post(r.at[0], f.fields(r.enter...)...).has(cmp.Or(r.says, "Sign in"))
		}
		if r.pattern == "POST /console/sign-out" {
			s = w.signedIn(w.root)
		}
	}
}

// What is written into any text field is text wherever it appears.
func TestConsoleTextFieldsShowMarkupAsText(t *testing.T) {
	w := newWorld(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`
	clean := func(p shownPage) {
		if p.Status >= 500 {
			t.Errorf("%s answers %d to markup", p.Path, p.Status)
		}
		p.lacks("<script>alert", "<img src=x")
	}
	routes := w.routes()
	s := w.signedIn(w.root)
	fields := 0
	for _, r := range routes {
		if r.file || r.outside {
			continue
		}
		for _, f := range s.get(r.on).forms() {
			if r.posts() != (f.method == "POST") || r.posts() && f.action != r.at[0] || r.operation == "deleteTenant" {
				continue
			}
			for _, name := range f.texts {
				fields++
				entered := slices.Concat(f.fields(r.enter...), []string{name, evil})
				if r.posts() {
					clean(s.post(f.action, entered...))
				} else {
					clean(s.get(f.action + "?" + url.Values{name: {evil}}.Encode()))
				}
			}
		}
	}
	if fields < 50 {
		t.Errorf("only %d text fields were found", fields)
	}
	if n := scalar[int](w, `SELECT count(*)::int FROM audit_events WHERE reason LIKE '%<script>%' OR details::text LIKE '%<script>%'`); n < 3 {
		t.Errorf("%d events have markup in them", n)
	}
	for _, r := range routes {
		if !r.posts() && !r.file && !r.outside {
			for _, path := range r.at {
				clean(s.get(path))
			}
		}
	}
}

// Each role is offered the forms that x-roles of openapi.yaml lets it send, and those only;
// all others answer 403.
func TestConsoleFormsByRole(t *testing.T) {
	doc, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]map[tenant.Role]bool{}
	for _, item := range doc.Paths.Map() {
		for _, o := range item.Operations() {
			roles, _ := o.Extensions["x-roles"].([]any)
			allowed[o.OperationID] = map[tenant.Role]bool{}
			for _, role := range roles {
				allowed[o.OperationID][tenant.Role(role.(string))] = true
			}
		}
	}
	for _, role := range []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor, tenant.TenantSigner} {
		w := newWorld(t)
		routes := w.routes()
		acme := scalar[uuid.UUID](w, `SELECT id FROM tenants WHERE slug = 'acme'`)
		key := w.key(role, &acme)
		s := w.signedIn(key)
		offered := map[string]shownForm{}
		for _, r := range routes {
			if r.file || r.outside {
				continue
			}
			for _, f := range s.get(r.on).forms() {
				if f.method == "POST" {
					offered[f.action] = f
				}
			}
		}
		for _, r := range routes {
			if !r.posts() || r.outside || r.operation == "" {
				continue
			}
			may, known := allowed[r.operation]
			if !known {
				t.Fatalf("openapi.yaml has no %s", r.operation)
			}
			f, has := offered[r.at[0]]
			if has != may[role] {
				t.Errorf("%s: offered %s: %t, x-roles of %s: %t", role, r.at[0], has, r.operation, may[role])
			}
			before := w.changes()
			p := s.post(r.at[0], f.fields(r.enter...)...)
			if refused := p.Status == http.StatusForbidden; refused == may[role] {
				t.Errorf("%s: %s answers %d\n%s", role, r.at[0], p.Status, p.Body)
			}
			if !may[role] && w.changes() != before {
				t.Errorf("%s: %s has changed something", role, r.at[0])
			}
		}
	}
}

// changes is the state without the length of the audit logs, which denied attempts move on.
func (w *world) changes() string {
	w.t.Helper()
	return auditLength.ReplaceAllString(w.state(), ":")
}

var auditLength = regexp.MustCompile(`:\d+:`)

// shownForm is a form of a page.
type shownForm struct {
	method, action string
	values         map[string]string // as the page shows it
	texts          []string          // names of the fields that people write into
}

// fields are what the form sends after people entered something, names and values in turn.
func (f shownForm) fields(enter ...string) (fields []string) {
	values := maps.Clone(f.values)
	if values == nil {
		values = map[string]string{}
	}
	for i := 0; i < len(enter); i += 2 {
		values[enter[i]] = enter[i+1]
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fields = append(fields, name, values[name])
	}
	return fields
}

// form returns the form of a route from the page that has it.
func (s *surfer) form(r consoleRoute) shownForm {
	s.w.t.Helper()
	p := s.get(r.on).is(http.StatusOK)
	for _, f := range p.forms() {
		if f.method == "POST" && f.action == r.at[0] && (f.values["id"] == "" || len(r.enter) == 0 || slices.Contains(r.enter, f.values["id"])) {
			return f
		}
	}
	s.w.t.Errorf("%s has no form for %s:\n%s", r.on, r.at[0], p.Body)
	return shownForm{}
}

// forms returns the forms of a page.
func (p shownPage) forms() (forms []shownForm) {
	p.w.t.Helper()
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		p.w.t.Fatal(err)
	}
	path, _, _ := strings.Cut(p.Path, "?")
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" {
			f := shownForm{method: strings.ToUpper(cmp.Or(attrOf(n, "method"), "get")), action: cmp.Or(attrOf(n, "action"), path), values: map[string]string{}}
			for field := range n.Descendants() {
				f.read(field)
			}
			forms = append(forms, f)
		}
	}
	return forms
}

// read takes in a field as a browser does when the form is sent untouched.
func (f *shownForm) read(n *html.Node) {
	name, kind := attrOf(n, "name"), attrOf(n, "type")
	switch {
	case n.Type != html.ElementNode:
	case n.Data == "option":
		list := n.Parent
		for list != nil && list.Data != "select" {
			list = list.Parent
		}
		if _, chosen := f.values[attrOf(list, "name")]; !chosen || hasAttr(n, "selected") {
			f.values[attrOf(list, "name")] = optionValue(n)
		}
	case name == "" || n.Data == "button":
	case n.Data == "textarea":
		f.values[name] = textOf(n)
		f.texts = append(f.texts, name)
	case n.Data != "input":
	case kind == "checkbox" || kind == "radio":
		if hasAttr(n, "checked") {
			f.values[name] = cmp.Or(attrOf(n, "value"), "on")
		}
	default:
		f.values[name] = attrOf(n, "value")
		if kind != "hidden" {
			f.texts = append(f.texts, name)
		}
	}
}

func attrOf(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func optionValue(n *html.Node) string {
	if hasAttr(n, "value") {
		return attrOf(n, "value")
	}
	return textOf(n)
}

func textOf(n *html.Node) (text string) {
	for child := range n.Descendants() {
		if child.Type == html.TextNode {
			text += child.Data
		}
	}
	return strings.TrimSpace(text)
}

package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// letters are short names of the roles.
var letters = map[string]tenant.Role{
	"P": tenant.PlatformAdmin, "p": tenant.PlatformAuditor, "A": tenant.TenantAdmin, "s": tenant.TenantSigner, "a": tenant.TenantAuditor, "v": tenant.TenantVerifier,
}

// cell is an operation of the document that needs a credential, with the roles that
// x-roles allows, and a body that changes nothing whoever sends it.
type cell struct {
	errand
	roles []tenant.Role
	body  string
}

// harmless are bodies with which an operation does what it is for and changes nothing.
// All other changes get a body that they refuse, after they have checked the role.
var harmless = map[string]string{
	"rotateKeys": `{"dry_run":true}`, "signToken": `{"claims":{}}`, "signTokens": `{"tokens":[{"claims":{}}]}`,
	"verifyToken": `{"token":"x"}`, "signPayload": `{"payload":""}`,
}

// matrix lists all operations that need a credential.
func (w *world) matrix() (cells []cell) {
	w.t.Helper()
	for _, e := range w.errands() {
		roles, has := e.Extensions["x-roles"].([]any)
		if has != e.secured() {
			w.t.Errorf("openapi.yaml: %s needs a credential: %t, has x-roles: %t", e.OperationID, e.secured(), has)
		}
		if !has {
			continue
		}
		c := cell{errand: e}
		for _, role := range roles {
			c.roles = append(c.roles, tenant.Role(role.(string)))
		}
		if e.method != "GET" {
			c.body = cmp.Or(harmless[e.OperationID], `{"x-unknown":1}`)
		}
		cells = append(cells, c)
	}
	return cells
}

func (c cell) allows(role tenant.Role) bool { return slices.Contains(c.roles, role) }
func (c cell) ofTenant() bool               { return c.has("tenant") }
func (c cell) has(parameter string) bool    { return strings.Contains(c.path, "{"+parameter+"}") }

// at returns the URL for another tenant, or another thing of one: names and values by
// turns.
func (c cell) at(things ...string) string {
	c.things = maps.Clone(c.things)
	for i := 0; i+1 < len(things); i += 2 {
		c.things[things[i]] = things[i+1]
	}
	return c.url()
}

// The roles in openapi.yaml are those that the code asks for.
func TestRolesOfTheDocument(t *testing.T) {
	w := newWorld(t)
	cells := w.matrix()
	for _, c := range cells {
		asked := permissions[c.OperationID].roles
		for _, role := range letters {
			if c.allows(role) != slices.Contains(asked, role) {
				t.Errorf("%s by %s: x-roles %t, roles.go %t", c.OperationID, role, c.allows(role), !c.allows(role))
			}
		}
		if len(c.roles) != len(asked) {
			t.Errorf("%s: x-roles %v, roles.go %v", c.OperationID, c.roles, asked)
		}
	}
	if len(cells) != len(permissions) || len(letters) != len(contractOf(t).doc.Components.Schemas["Role"].Value.Enum) {
		t.Errorf("%d operations in the document and %d in roles.go; %d roles", len(cells), len(permissions), len(letters))
	}
}

// neighbours are the tenants that a tenant's credential must not find out about, and
// names that nobody has. other is alive and owns something of everything.
type neighbours struct{ refs, unknown []string }

// newNeighbours makes a live, a suspended and a deleted tenant beside acme.
func (w *world) newNeighbours(other Tenant) neighbours {
	w.t.Helper()
	suspended, deleted := w.tenant("suspended"), w.tenant("deleted")
	w.do("PATCH", "/v1/tenants/suspended", w.root, `{"status":"suspended"}`).ok(200)
	w.do("DELETE", "/v1/tenants/deleted", w.root, "").ok(204)
	return neighbours{
		refs: []string{
			other.Slug, other.ID.String(), suspended.Slug, suspended.ID.String(), deleted.Slug, deleted.ID.String(), "platform", "no:slug",
		},
		unknown: []string{"nowhere", uuid.NewString()},
	}
}

// Every operation by every role on its own tenant, on others and on none: what the
// document allows is allowed, all else is 401, 403 or 404, and no answer tells whether
// another tenant exists.
func TestRoleMatrix(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	own, foreign := map[string]string{}, map[string]string{}
	for letter, role := range letters {
		own[letter], foreign[letter] = w.key(role, &acme.ID), w.key(role, &other.ID)
	}
	beside := w.newNeighbours(other)
	w.walkMatrix(own, foreign)
	w.inert(func() {
		for _, c := range w.matrix() {
			for letter, role := range letters {
				if !c.ofTenant() {
					continue
				}
				c.hides(w, own[letter], role, beside)
				if a := w.do(c.method, c.at("tenant", acme.ID.String()), own[letter], c.body); (a.StatusCode == 403) == c.allows(role) {
					t.Errorf("%s by %s, named by its id: %d %s", c.OperationID, role, a.StatusCode, a.body)
				}
			}
			if c.ofTenant() {
				c.hides(w, "", "", beside)
			}
		}
	})
}

// hides demands one answer about every tenant that is not the caller's. The role is
// empty for a caller without a credential. Those of the platform may know: they get
// one answer if their role does not allow the operation.
func (c cell) hides(w *world, key string, role tenant.Role, beside neighbours) {
	w.t.Helper()
	want := 404
	switch {
	case role == "":
		want = 401
	case role.OfPlatform() && c.allows(role):
		return
	case role.OfPlatform():
		want = 403
	}
	nobody := w.do(c.method, c.at("tenant", beside.unknown[0]), key, c.body, "X-Request-Id", "same")
	if nobody.StatusCode != want {
		w.t.Errorf("%s by %s on an unknown tenant: %d, want %d: %s", c.OperationID, role, nobody.StatusCode, want, nobody.body)
	}
	for _, ref := range append(beside.unknown[1:], beside.refs...) {
		nobody.same(w.do(c.method, c.at("tenant", ref), key, c.body, "X-Request-Id", "same"))
	}
}

// same demands that two answers differ in nothing but their date.
func (a *answer) same(b *answer) {
	a.t.Helper()
	head := func(a *answer) string {
		h := a.Header.Clone()
		h.Del("Date")
		text, err := json.Marshal(h)
		if err != nil {
			a.t.Fatal(err)
		}
		return string(text)
	}
	if a.StatusCode != b.StatusCode || !bytes.Equal(a.body, b.body) || head(a) != head(b) {
		a.t.Errorf("%s %s: %d %s %s\n%s: %d %s %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, head(a), a.body,
			b.Request.URL.Path, b.StatusCode, head(b), b.body)
	}
}

// walkMatrix tries every operation with credentials of the tenants acme and other, by
// the letter of their role. Nothing changes but the history of the denied.
func (w *world) walkMatrix(own, foreign map[string]string) {
	t := w.t
	t.Helper()
	w.inert(func() {
		for _, c := range w.matrix() {
			w.do(c.method, c.url(), "", c.body).problem(ProblemCodeUnauthenticated)
			for letter, role := range letters {
				a := w.do(c.method, c.url(), own[letter], c.body)
				if did := a.StatusCode != 403; did != c.allows(role) || a.StatusCode == 401 || a.StatusCode >= 500 {
					t.Errorf("%s by %s: %d %s", c.OperationID, role, a.StatusCode, a.body)
				}
				if a.StatusCode == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_scope") {
					t.Errorf("%s: %v", c.OperationID, a.Header)
				}
				if c.allows(role) && (c.method == "GET" && c.things["tenant"] != "" && !c.has("id") && !c.has("kid") || harmless[c.OperationID] != "") && a.StatusCode != 200 {
					t.Errorf("%s by %s: %d %s", c.OperationID, role, a.StatusCode, a.body)
				}
				if c.ofTenant() && !role.OfPlatform() {
					there := w.do(c.method, c.url(), foreign[letter], c.body, "X-Request-Id", "same")
					there.problem(ProblemCodeTenantNotFound)
					there.same(w.do(c.method, c.at("tenant", "nowhere"), foreign[letter], c.body, "X-Request-Id", "same"))
				}
			}
		}
	})
}

// rows is state without what denied attempts move.
func (w *world) rows() string {
	w.server.denials.writing.Wait()
	return scalar[string](w, `SELECT concat_ws('|', (SELECT count(*) FROM tenants), (SELECT count(*) FROM policies), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM workload_identities),
		(SELECT string_agg(kid || state, ',' ORDER BY kid) FROM keys), (SELECT count(*) FROM audit_events WHERE action <> 'authorization.denied'))`)
}

// What is no credential, or was one, opens nothing, and every operation says so in the
// same words.
func TestMatrixOfDeadCredentials(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	acme, gone := w.tenant("acme"), w.tenant("gone")
	soon := w.clock.now().Add(time.Minute)
	_, expired, err := w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{Role: tenant.PlatformAdmin, Name: "expired", ExpiresAt: &soon})
	if err != nil {
		t.Fatal(err)
	}
	revoked := w.made("/v1/api-keys", w.root, `{"role":"platform_admin"}`)
	w.do("GET", "/v1/tenants", revoked.Key, "").ok(200) // it is cached
	ofGone, alive := w.key(tenant.TenantAdmin, &gone.ID), w.key(tenant.TenantAdmin, &acme.ID)
	w.do("GET", "/v1/tenants/gone", ofGone, "").ok(200)
	w.do("DELETE", "/v1/api-keys/"+revoked.ID.String(), w.root, "").ok(204)
	w.do("DELETE", "/v1/tenants/gone", w.root, "").ok(204)
	w.clock.pass(2 * time.Minute)
	id, secret, _ := strings.Cut(strings.TrimPrefix(alive, "kw_"), "_")
	rootID, _, _ := strings.Cut(strings.TrimPrefix(w.root, "kw_"), "_")
	dead := map[string]string{
		"expired": expired, "revoked": revoked.Key, "of a deleted tenant": ofGone, "another's id": "kw_" + rootID + "_" + secret,
		"no secret": "kw_" + id + "_", "cut off": alive[:len(alive)-1], "in capitals": strings.ToUpper(alive), "nonsense": "x", "a token": "e30.e30.e30",
	}
	network := 0
	w.inert(func() {
		for _, c := range w.matrix() {
			var first *answer
			for _, name := range slices.Sorted(maps.Keys(dead)) {
				network++ // each is another client: wrong credentials are limited by network
				a := w.do(c.method, c.url(), dead[name], c.body, "X-Request-Id", "same", "X-Forwarded-For", netip.AddrFrom4([4]byte{198, 18, byte(network >> 8), byte(network)}).String())
				if a.problem(ProblemCodeUnauthenticated); first == nil {
					first = a
				}
				first.same(a)
			}
		}
	})
}

// belongings are ids of everything that an owner has, by the segment of the path before
// the parameter.
type belongings map[string]string

// belongingsOf makes something of everything for an owner below root, which is the
// path of a tenant or /v1 for the platform.
func (w *world) belongingsOf(root string, r *receiver) belongings {
	w.t.Helper()
	hook := w.hook(root+"/webhooks", w.root, `{"url":"`+r.url+`"}`)
	role := "tenant_signer"
	if root == "/v1" {
		role = "platform_auditor"
	}
	have := belongings{"webhooks": hook.ID.String(), "api-keys": w.made(root+"/api-keys", w.root, `{"role":"`+role+`"}`).ID.String()}
	if root != "/v1" {
		have["workload-identities"] = w.workload(root, aWorkload).ID.String()
	}
	w.deliver()
	have["deliveries"] = w.deliveries(root + "/webhooks/" + hook.ID.String() + "/deliveries")[0].ID.String()
	if root == "/v1" {
		return have
	}
	slug := strings.TrimPrefix(root, "/v1/tenants/")
	host := "id." + slug + ".example"
	w.do("POST", root+"/domains", w.root, `{"domain":"`+host+`"}`).ok(201)
	have["domains"], have["keys"] = host, w.keys(slug, KeyStateActive)[0].KID
	w.do("PATCH", root, w.root, `{"approval_required":["purge"]}`).ok(200)
	var pending Approval
	w.do("POST", root+"/keys/purge", w.root, "{}").ok(202, &pending)
	have["approvals"] = pending.ID.String()
	return have
}

// finds is a body that an operation accepts if there is what its path names.
var finds = map[string]string{
	"approveApproval": "{}", "rejectApproval": "{}",
	"revokeKey": `{"reason":"unspecified"}`, "updateTenantWebhook": `{"description":"x"}`, "updatePlatformWebhook": `{"description":"x"}`,
}

// A thing of another owner does not exist: below one's own tenant, its id is answered as one
// that nobody has. Nor does the platform's path lead to a tenant's things.
func TestMatrixOfForeignThings(t *testing.T) {
	w, r := newWorld(t), newReceiver(t)
	w.serveNames()
	acme, other := w.tenant("acme"), w.tenant("other")
	owners := map[string]belongings{"acme": w.belongingsOf("/v1/tenants/acme", r), "other": w.belongingsOf("/v1/tenants/other", r), "platform": w.belongingsOf("/v1", r)}
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	tried := 0
	w.inert(func() {
		for _, c := range w.matrix() {
			segments := strings.Split(c.path, "/")
			for i, segment := range segments {
				name, is := strings.CutPrefix(segment, "{")
				kind := segments[max(i-1, 0)]
				if name = strings.TrimSuffix(name, "}"); !is || kind == "tenants" || kind == "policies" { // destroyed tenants; algorithms are nobody's
					continue
				}
				if owners["other"][kind] == "" {
					t.Errorf("%s: the test makes no %s", c.OperationID, kind)
				}
				key, reach := admin, "acme"
				if !c.ofTenant() {
					key, reach = w.root, "platform"
				}
				mine := []string{} // the things above are the caller's own
				for j := 1; j < i; j++ {
					if above, is := strings.CutPrefix(segments[j], "{"); is && segments[j-1] != "tenants" {
						mine = append(mine, strings.TrimSuffix(above, "}"), owners[reach][segments[j-1]])
					}
				}
				body := cmp.Or(finds[c.OperationID], c.body)
				if c.RequestBody == nil {
					body = ""
				}
				unknown := map[string]string{"keys": "none", "domains": "nobody.example"}
				nobody := w.do(c.method, c.at(append(mine, name, cmp.Or(unknown[kind], nowhere))...), key, body, "X-Request-Id", "same")
				if nobody.StatusCode != 404 {
					t.Errorf("%s: %d %s", c.OperationID, nobody.StatusCode, nobody.body)
				}
				for owner, has := range owners {
					if owner == reach || has[kind] == "" {
						continue
					}
					tried++
					nobody.same(w.do(c.method, c.at(append(mine, name, has[kind])...), key, body, "X-Request-Id", "same"))
				}
			}
		}
	})
	if tried < 30 {
		t.Errorf("only %d things were tried", tried)
	}

	// And no list of a tenant has anything of the other.
	for _, c := range w.matrix() {
		if c.method != "GET" || !c.ofTenant() || !c.allows(tenant.TenantAdmin) || c.has("id") || c.has("kid") {
			continue
		}
		a := w.do(c.method, c.url(), admin, "")
		a.ok(200)
		for _, secret := range append(slices.Collect(maps.Values(owners["other"])), other.ID.String(), other.Slug+`"`) {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s of acme tells of %s: %s", c.OperationID, secret, a.body)
			}
		}
	}
}

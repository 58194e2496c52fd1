package httpapi

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/tenant"
)

// A host is claimed, verified by its record and removed, and the history says so in words.
func TestConsoleDomains(t *testing.T) {
	w := newWorld(t)
	names := w.serveNames()
	acme := w.tenant("acme")
	w.tenant("other")
	s := w.signedIn(w.key(tenant.TenantAdmin, &acme.ID))
	const path = "/console/tenants/acme/domains"
	s.get(path).is(http.StatusOK).has("No domain")
	s.post(path, "do", "claim", "domain", "not a host").is(422).has("domain-wrong")
	p := s.post(path, "do", "claim", "domain", "id.acme.example").is(http.StatusOK).has("is claimed", "! not verified")
	record := regexp.MustCompile(`data-copy="([^"]*)"`).FindAllStringSubmatch(p.Body, -1)
	if len(record) != 2 {
		t.Fatalf("no record to copy:\n%s", p.Body)
	}
	s.post(path, "do", "verify", "domain", "id.acme.example").is(422).has("! not verified")
	names.set(record[0][1], html.UnescapeString(record[1][1]))
	s.post(path, "do", "verify", "domain", "id.acme.example").is(http.StatusOK).has("✓ verified", "is verified")
	s.post("/console/tenants/acme/settings", append(s.settings("acme"), "custom_domain", "id.acme.example")...).is(http.StatusOK).has("Saved")
	s.get(path).has("custom domain").lacks(`value="remove"`) // it is in use
	s.post("/console/tenants/acme/settings", append(s.settings("acme"), "custom_domain", "")...).is(http.StatusOK)
	s.post(path, "do", "remove", "domain", "id.acme.example").is(http.StatusOK).has("is removed", "No domain")
	s.get("/console/tenants/acme/history").has("Domain verified", "Domain removed")
	s.post(path, "do", "burn", "domain", "id.acme.example").is(http.StatusBadRequest)
	w.signedIn(w.key(tenant.TenantAuditor, &acme.ID)).get(path).is(http.StatusForbidden)
	s.get("/console/tenants/other/domains").is(http.StatusNotFound)
}

// A workload identity is created from what people write into the form, which names their
// faults beside the fields, and deleted.
func TestConsoleWorkloads(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	s := w.signedIn(w.key(tenant.TenantAdmin, &acme.ID))
	const path = "/console/tenants/acme/workloads"
	s.get(path).is(http.StatusOK).has("No workload identity")
	good := []string{"name", "payments", "role", "tenant_signer", "issuer", "https://ci.example.com", "audience", "keyward", "rules", " sub = a \r\n\r\nsub=b=c\nref=main", "prefixes", "job=one:two:\njob=one:two:three:", "max_token_lifetime_seconds", "10m", "expires_at", "2099-01-31T09:00"}
	for field, faults := range map[string][]string{
		"name": {""}, "issuer": {"ci.example.com", ""}, "audience": {""}, "rules": {"sub", "sub=", "=a", "iss=https://ci.example.com", "ref=main"}, "prefixes": {"sub", "sub=repo:", "sub=one:two"},
		"jwks_uri": {"ftp://ci.example.com"}, "max_token_lifetime_seconds": {"soon", "1s", "2000000000000"}, "expires_at": {"tomorrow", "2001-01-01"},
	} {
		for _, fault := range faults {
			before := w.changes()
			s.post(path, append(good, field, fault, "prefixes", "", field, fault)...).is(422).has(field + "-wrong")
			if w.changes() != before {
				t.Errorf("%s %q has changed something", field, fault)
			}
		}
	}
	s.post(path, append(good, "role", "platform_admin")...).is(422)
	s.post(path, good...).is(http.StatusOK).has("The workload identity is there", "payments", "one of <code>a</code>, <code>b=c</code>", "begins with <code>one:two:three:</code>", "10 minutes")
	var list WorkloadIdentityList
	w.do("GET", "/v1/tenants/acme/workload-identities", w.root, "").ok(200, &list)
	if len(list.Items) != 1 {
		t.Fatal(list)
	}
	if got := list.Items[0]; fmt.Sprint(got.Rules[0].OneOf) != "[a b=c]" || *got.Rules[1].Equals != "main" || *got.Rules[2].Prefix != "one:two:" || *got.Rules[3].Prefix != "one:two:three:" || len(got.Rules) != 4 ||
		got.MaxTokenLifetimeSeconds != 600 || got.ExpiresAt == nil || got.ExpiresAt.Year() != 2099 || got.Role != "tenant_signer" || got.JWKSURI != nil {
		t.Errorf("made: %+v", got)
	}
	w.signedIn(w.key(tenant.TenantAuditor, &acme.ID)).get(path).is(http.StatusForbidden)
	s.get("/console/tenants/other/workloads").is(http.StatusNotFound)
	s.post(path+"/delete", "id", "x").is(http.StatusNotFound)
	s.post(path+"/delete", "id", list.Items[0].ID.String()).is(http.StatusOK).has("The workload identity is deleted", "No workload identity")
	s.post(path+"/delete", "id", list.Items[0].ID.String()).is(http.StatusNotFound)
	s.get("/console/tenants/acme/history").has("Workload identity created", "Workload identity deleted")
}

// settings are the fields of a tenant's settings as the page shows them.
func (s *surfer) settings(slug string) (fields []string) {
	s.w.t.Helper()
	p := s.get("/console/tenants/" + slug + "/settings").is(http.StatusOK)
	_, form, _ := strings.Cut(p.Body, `action="/console/tenants/`+slug+`/settings">`)
	form, _, _ = strings.Cut(form, "</form>")
	for _, m := range regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		if m[1] != "approval_required" {
			fields = append(fields, m[1], html.UnescapeString(m[2]))
		}
	}
	return fields
}

// Who has not fetched the next key is said on each page where it matters.
func TestConsoleAdoption(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PUT", "/v1/tenants/acme/policies/ES256", w.root, `{"default":true,"min_adoption":0.9,"rotation_interval_seconds":172800}`).ok(200)
	s := w.signedIn(w.root)
	tag := ""
	for _, agent := range []string{"quick", "slow", "stubborn"} {
		tag = w.fetches(agent, "")
	}
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	next := w.keys("acme", KeyStateStandby)[0]
	w.clock.pass(time.Minute)
	w.fetches("quick", tag)
	if a := w.adoptionOf(next.KID); a.Adopted != 1 {
		t.Fatalf("%+v", a)
	}
	s.get("/console/tenants/acme").has("1 of 3 verifiers have fetched it").lacks("verifiers behind") // every cache may still have the old set
	s.get("/console/tenants?problem=verifiers_behind").has("No tenant matches")
	s.get("/console/tenants/acme/key?kid="+next.KID).has("1 of 3 verifiers", "33 %", "2 verifiers behind", "waits for 90 %")
	w.clock.pass(25 * time.Hour)
	w.fetches("quick", "")
	w.adoptionOf(next.KID)
	s = w.signedIn(w.root)
	s.get("/console/tenants/acme").has("ES256: 2 verifiers behind", "Who is behind")
	s.get("/console/tenants").has("ES256: 2 verifiers behind")
	w.tenant("other") // nobody has fetched its keys
	s.get("/console/tenants?problem=verifiers_behind").is(http.StatusOK).has("tenants/acme").lacks("tenants/other")
	for query, want := range map[string]int{"": 1, "&q=acm": 1, "&q=other": 0, "&alg=ES256": 1, "&alg=RS256": 0, "&status=active": 1, "&status=suspended": 0} {
		var list TenantList
		w.do("GET", "/v1/tenants?problem=verifiers_behind"+query, w.root, "").ok(200, &list)
		if len(list.Items) != want {
			t.Errorf("%s: %d tenants with verifiers behind", query, len(list.Items))
		}
	}
	w.clock.pass(24 * time.Hour)
	w.fetches("quick", "")
	w.adoptionOf(next.KID)
	w.signedIn(w.root).get("/console/tenants/acme").has("the rotation waits for 2 verifiers", "33 % of the verifiers", "wants 90 %")
}

// Whatever page asks for something that needs a second person says so, and repeats it once
// it is approved.
func TestConsoleRepeatsWhatWasApproved(t *testing.T) {
	w := newWorld(t)
	names := w.serveNames()
	acme := w.tenant("acme")
	var d Domain
	w.do("POST", "/v1/tenants/acme/domains", w.root, `{"domain":"id.acme.example"}`).ok(201, &d)
	names.set(d.TxtName, d.TxtValue)
	var hook Webhook
	w.do("POST", "/v1/tenants/acme/webhooks", w.root, `{"url":"https://hooks.example.com/x"}`).ok(201, &hook)
	old := w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_signer","name":"old"}`)
	identity := w.workload("/v1/tenants/acme", aWorkload)
	s := w.signedIn(w.key(tenant.TenantAdmin, &acme.ID))
	second := w.key(tenant.TenantAdmin, &acme.ID)
	renamed := append(s.settings("acme"), "name", "New name")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["api_keys","settings","policy"]}`).ok(200)
	const base = "/console/tenants/acme"
	policy := []string{"do", "save", "rotation_interval_seconds", "20d", "publish_lead_seconds", "1d", "grace_period_seconds", "7d", "purge_after_seconds", "90d", "default_token_ttl_seconds", "15m", "max_token_ttl_seconds", "1d"}
	for _, c := range []struct {
		path   string
		fields []string
		done   string
	}{
		{base + "/settings", renamed, "Saved."},
		{base + "/policies/ES256", policy, "The policy is saved"},
		{base + "/api-keys", []string{"role", "tenant_auditor", "name", "new", "nonce", "n1"}, "Copy the new key now"},
		{base + "/api-keys/revoke", []string{"id", old.ID.String()}, "is revoked"},
		{base + "/workloads", []string{"role", "tenant_signer", "name", "new", "issuer", "https://ci.example.com", "audience", "keyward", "rules", "sub=job", "nonce", "n3"}, "The workload identity is there"},
		{base + "/workloads/delete", []string{"id", identity.ID.String()}, "The workload identity is deleted"},
		{base + "/webhooks", []string{"url", "https://hooks.example.com/y", "nonce", "n2"}, "hooks.example.com/y"},
		{base + "/webhooks/" + hook.ID.String(), []string{"do", "delete"}, "The webhook is deleted"},
		{base + "/domains", []string{"do", "verify", "domain", "id.acme.example"}, "is verified"},
	} {
		before := w.state()
		p := s.post(c.path, c.fields...).is(http.StatusAccepted).has("Nothing is done yet", "Carry it out now")
		if w.state() == before {
			t.Errorf("%s: no approval was asked for", c.path)
		}
		repeat := p.hidden(c.path)
		if early := s.post(c.path, s.renewed(repeat)...); early.Status == http.StatusOK {
			t.Errorf("%s: done before it was approved", c.path)
		}
		var list ApprovalList
		w.do("GET", "/v1/tenants/acme/approvals?status=pending", w.root, "").ok(200, &list)
		for _, a := range list.Items {
			w.do("POST", "/v1/tenants/acme/approvals/"+a.ID.String()+"/approve", second, "").ok(200)
		}
		s.post(c.path, s.renewed(repeat)...).is(http.StatusOK).has(c.done)
	}
}

// Saving a form changes what was changed in it, and not what somebody else has changed since
// it was loaded.
func TestConsoleSettingsOfAnEarlierPage(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := w.signedIn(w.root)
	form := s.settings("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme of today","clock_skew_seconds":61,"approval_required":["delete"]}`).ok(200)
	s.post("/console/tenants/acme/settings", append(form, "jwks_stale_if_error_seconds", "12h")...).is(http.StatusOK).has("Saved")
	var acme Tenant
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200, &acme)
	if acme.Name != "Acme of today" || acme.ClockSkewSeconds != 61 || len(acme.ApprovalRequired) != 1 || acme.JWKSStaleIfErrorSeconds != 43200 {
		t.Errorf("%+v", acme)
	}
	s.post("/console/tenants/acme/settings", append(s.settings("acme"), "clock_skew_seconds", "soon")...).is(422).has("clock_skew_seconds-wrong")
}

// renewed are the fields of a form that is sent again after its page was loaded again.
func (s *surfer) renewed(fields []string) []string {
	fields = slices.Clone(fields)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "nonce" {
			fields[i+1] += "-again"
		}
	}
	return fields
}

// A key is imported by a form: checked first, then saved. The key itself is never on a page.
func TestConsoleImport(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := w.signedIn(w.root)
	const path = "/console/tenants/acme/act/import"
	mine, another := foreignEC(t), foreignEC(t)
	private := func(p shownPage) shownPage {
		t.Helper()
		body := strings.Split(mine.pem, "\n")
		return p.lacks("PRIVATE KEY", body[1], body[2])
	}
	form := s.get(path).hidden(path)
	private(s.post(path, append(form, "kind", "private", "material", "nonsense", "alg", "ES256")...).is(422))
	private(s.post(path, append(form, "kind", "private", "material", mine.pem)...).is(422).has("Choose what the key signs with", "is kept: leave this empty"))
	before := w.state()
	checked := private(s.post(path, append(form, "kind", "private", "material", mine.pem, "alg", "ES256", "kid", "mine", "role", "active")...).is(http.StatusOK).has("What would be imported", "Signing", "nothing has changed yet"))
	if w.state() != before {
		t.Error("checking has changed something")
	}
	save := checked.hidden(path)
	thief := w.signedIn(w.root) // has the page, and not the cookie of the session
	thief.post(path, save...).is(422).has("Paste a key")
	if w.state() != before && len(w.keys("acme", "active")) != 1 {
		t.Error("imported by another session")
	}
	private(s.post(path, save...).is(http.StatusOK).has("Done"))
	if got := w.keys("acme", KeyStateActive)[0].KID; got != "mine" {
		t.Errorf("%s signs", got)
	}
	form = s.get(path).hidden(path)
	set := `{"keys":[` + with(another.public(t), "kid", "theirs") + `,{"kty":"oct","k":"AAAA","kid":"s"}]}`
	s.post(path, append(form, "kind", "public", "material", set)...).is(422).has("Say until when")
	public := s.post(path, append(form, "kind", "public", "material", set, "expires_at", time.Now().Add(72*time.Hour).UTC().Format("2006-01-02T15:04"))...).is(http.StatusOK).has("theirs", "Verifying only", "Not imported: ")
	s.post(path, public.hidden(path)...).is(http.StatusOK).has("Done", "theirs")
	w.do("GET", "/v1/tenants/acme/keys/theirs", w.root, "").ok(200)
	if strings.Contains(w.log.String(), "PRIVATE KEY") {
		t.Error("the log has a key")
	}
}

// Words for everything that the API can say are on the pages, and not its own names.
func TestConsoleKnowsEveryWord(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	s := w.signedIn(w.root)
	doc, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	history := s.get("/console/history")
	for _, action := range doc.Components.Schemas["AuditAction"].Value.Enum {
		history.has(fmt.Sprintf(`<option value="%s">`, action)).lacks(fmt.Sprintf(`<option value="%s">%s<`, action, action))
	}
	settings := s.get("/console/tenants/acme/settings")
	for _, effect := range doc.Components.Schemas["GuardedOperation"].Value.Enum {
		settings.has(fmt.Sprintf(`value="%s"`, effect)).lacks(fmt.Sprintf(`>%s</label>`, effect))
	}
	keys := s.get("/console/tenants/acme/keys")
	for _, state := range doc.Components.Schemas["KeyState"].Value.Enum {
		keys.has(fmt.Sprintf(`<option value="%s">`, state)).lacks(fmt.Sprintf(`<option value="%s">%s<`, state, state))
	}
	credentials := s.get("/console/tenants/acme/api-keys").Body + s.get("/console/platform/api-keys").Body
	for _, role := range doc.Components.Schemas["Role"].Value.Enum {
		if !strings.Contains(credentials, fmt.Sprintf(`<option value="%s">`, role)) || strings.Contains(credentials, fmt.Sprintf(`>%s<`, role)) {
			t.Errorf("no words for the role %s", role)
		}
	}
	// A verifier's credential has no page: it is told so, and what it is for.
	w.surfer().post("/console/sign-in", "key", w.key(tenant.TenantVerifier, &acme.ID)).is(http.StatusForbidden).has("key-events")
}

// The platform's page shows what is wrong, and escapes what processes call themselves.
func TestConsolePlatform(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) {
		c.Console.Platform = func(context.Context) (console.PlatformState, error) { return platformInTrouble(c.Now()), nil }
	})
	s := w.signedIn(w.root)
	s.get("/console/platform").is(http.StatusOK).has(
		"3 live", "1 of them did not confirm", "! not confirmed", "250 ms behind", "Nobody leads", "10000+ due", "! late", "Re-wrapped: 75 %", "wrong master key", "2 findings",
		"GRANT keyward_app TO keyward;", "&lt;script&gt;").lacks("<script>alert")
	acme := w.tenant("acme")
	w.signedIn(w.key(tenant.TenantAdmin, &acme.ID)).get("/console/platform").is(http.StatusForbidden).lacks("did not confirm")
}

// platformInTrouble is the state of an installation in which much is wrong.
func platformInTrouble(now time.Time) console.PlatformState {
	process := func(name, kind string, behind bool, offset time.Duration) console.Process {
		return console.Process{Name: name, Kind: kind, Version: "1.4.0", Address: ":8080", ClockOffset: offset, StartedAt: now.Add(-30 * time.Hour), HeardAt: now, ConfirmedUntil: now, Behind: behind, MasterKeys: []string{"1", "2"}}
	}
	return console.PlatformState{
		Processes:  []console.Process{process("keys-1/5f0c", "serve", false, 0), process("keys-2/<script>alert(1)</script>", "serve", true, -250*time.Millisecond), process("worker-1/77aa", "worker", false, 0)},
		Lease:      &console.Lease{Holder: "worker-0/19be", Term: 12, RenewedAt: now.Add(-20 * time.Minute), Expired: true},
		Due:        console.Backlog{Count: 10_000, Most: 10_000, Oldest: now.Add(-19 * time.Minute)},
		Deliveries: console.Backlog{Count: 311, Most: 10_000, Oldest: now.Add(-19 * time.Minute)},
		Events:     console.Backlog{Most: 10_000, Oldest: now.Add(-18 * time.Minute)},
		MasterKeys: []console.MasterKey{
			{URI: "file:/etc/keyward/master.json", Version: "1", State: "superseded", CreatedAt: now.Add(-9000 * time.Hour), DataKeys: 25, Unusable: "wrong master key"},
			{URI: "file:/etc/keyward/master.json", Version: "2", State: "current", CreatedAt: now.Add(-time.Hour), DataKeys: 75},
		},
		Database: console.Database{Version: "17.2", Login: "keyward", Name: "keyward", Bytes: 7_400_000_000},
		Findings: []console.DoctorFinding{
			{Level: "fail", Check: "roles", Text: "the login keyward cannot take keyward_app: requests that need it fail", Fix: []string{"GRANT keyward_app TO keyward;"}},
			{Level: "warn", Check: "clock", Text: "differs from the database's by 1.2s: run NTP on both machines"},
			{Level: "ok", Check: "row security", Text: "in force"},
		},
		FoundAt: now,
	}
}

// A history leads to what else an actor and a request did and to the keys of that time, says
// whether its chain is intact, and can be taken away.
func TestConsoleHistory(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`, "X-Request-Id", "drill-1").ok(200)
	w.clock.pass(time.Hour)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`, "X-Request-Id", "drill-2").ok(200)
	for _, c := range []struct{ key, path string }{
		{w.root, "/console/history"}, {w.key(tenant.TenantAuditor, &acme.ID), "/console/tenants/acme/history"}, {w.key(tenant.PlatformAuditor, nil), "/console/tenants/acme/history"},
	} {
		s := w.signedIn(c.key)
		p := s.get(c.path).is(http.StatusOK)
		links := regexp.MustCompile(`href="([^"]*\?request=drill-2[^"]*)"`).FindStringSubmatch(p.Body)
		if links == nil {
			t.Fatalf("%s: no link to a request:\n%s", c.path, p.Body)
		}
		one := s.get(html.UnescapeString(links[1])).is(http.StatusOK).has("Only what request", "drill-2").lacks("drill-1", `<strong>Tenant created`)
		if n := strings.Count(one.Body, `<tr id="e`); n < 3 {
			t.Errorf("%s: %d events of a rotation", c.path, n)
		}
		actor := regexp.MustCompile(`<dt>Actor</dt><dd><a href="([^"]*)"`).FindStringSubmatch(p.Body)
		s.get(html.UnescapeString(actor[1])).is(http.StatusOK).has("Key began to sign")
		csv := s.get(c.path + "/export?format=csv&action=key.activated").is(http.StatusOK).lacks("tenant.created")
		if got := csv.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/csv") || !strings.Contains(csv.Header.Get("Content-Disposition"), ".csv") || strings.Count(csv.Body, "key.activated") < 3 {
			t.Errorf("%s: %s %s", c.path, got, csv.Body)
		}
		lines := s.get(c.path + "/export?format=ndjson").is(http.StatusOK).has(`"key.created"`)
		if !strings.HasPrefix(lines.Body, "{") {
			t.Errorf("%s: %.80s", c.path, lines.Body)
		}
		s.get(c.path + "/export?format=exe").is(http.StatusBadRequest)
		if jws := s.get(c.path + "/checkpoint").is(http.StatusOK); strings.Count(jws.Body, ".") != 2 || !strings.Contains(jws.Header.Get("Content-Disposition"), "checkpoint.jws") {
			t.Errorf("%s: %s", c.path, jws.Body)
		}
	}
	s := w.signedIn(w.root)
	s.get("/console/tenants/acme/history").has("The chain is intact")
	then := s.get("/console/tenants/acme/history").has("What was valid at")
	_, link, _ := strings.Cut(then.Body, `<dt>Then</dt><dd><a href="`)
	link, _, _ = strings.Cut(link, `"`)
	s.get(html.UnescapeString(link)).is(http.StatusOK).has("These keys were in the JWKS then")
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica; UPDATE audit_events SET reason = 'rewritten' WHERE tenant_id = '`+acme.ID.String()+`' AND seq = 3`)
	s.get("/console/tenants/acme/history").has("The chain is broken at event 3")
	signer := w.signedIn(w.key(tenant.TenantSigner, &acme.ID))
	for _, path := range []string{"/history", "/history/export?format=csv", "/history/checkpoint"} {
		signer.get("/console/tenants/acme"+path).is(http.StatusForbidden).lacks(`<tr id="e`, "drill-1")
	}
	signer.get("/console/tenants/other/history/export?format=csv").is(http.StatusNotFound)
}

// A fault of an item of a list is shown at the field that has the list, with the item: the
// API numbers items, and a form has no field of such a name.
func TestFaultsOfListItemsAreShownAtTheirField(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := w.signedIn(w.root)
	for _, path := range []string{"/console/tenants/acme/webhooks", "/console/platform/webhooks"} {
		s.post(path, "url", "https://hooks.example.com/", "actions", "key.revoked, key.*, key.forgotten").is(422).
			has(`id="actions-wrong">key.forgotten: is not an action`, `value="key.revoked, key.*, key.forgotten"`)
	}
	workload := []string{"role", "tenant_signer", "name", "ci", "issuer", "https://ci.example.com", "audience", "keyward", "prefixes", "job=no-end", "rules"}
	s.post("/console/tenants/acme/workloads", append(workload, "sub=job\nref=")...).is(422).has(`id="rules-wrong">ref: `)
	s.post("/console/tenants/acme/workloads", append(workload, "sub=job")...).is(422).has(`id="prefixes-wrong">job: `)
}

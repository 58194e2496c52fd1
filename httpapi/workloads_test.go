package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// aWorkload is a workload identity whose issuer nobody asks.
const aWorkload = `{"name":"ci","issuer":"https://ci.example.com","audience":"keyward","rules":[{"claim":"sub","equals":"job"}],"role":"tenant_signer"}`

// workload makes a workload identity below a tenant's path.
func (w *world) workload(root, body string) (out WorkloadIdentity) {
	w.t.Helper()
	w.do("POST", root+"/workload-identities", w.root, body).ok(201, &out)
	return out
}

// newLocalIssuer serves an issuer on this machine, with an RSA key 1 and an EC key 2.
func newLocalIssuer(t *testing.T) *jwkstest.Issuer {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	issuer := jwkstest.New("http://"+s.Listener.Addr().String(), jose.RS256, jose.ES256)
	s.Config.Handler = issuer
	s.Start()
	t.Cleanup(s.Close)
	return issuer
}

const theAudience = "https://keys.example.com/acme"

// A foreign token of each platform, with the claims and the header that it has there.
func kubernetesToken(i *jwkstest.Issuer, change jwkstest.Claims) string {
	now := time.Now().Unix()
	return signedAs(i, "1", map[string]any{}, jwkstest.Claims{
		"aud": []string{theAudience}, "exp": now + 3600, "iat": now, "nbf": now, "iss": i.URL, "jti": uuid.NewString(), "sub": "system:serviceaccount:payments:api",
		"kubernetes.io": map[string]any{
			"namespace":      "payments",
			"node":           map[string]any{"name": "node-1", "uid": uuid.NewString()},
			"pod":            map[string]any{"name": "api-5d4f9", "uid": uuid.NewString()},
			"serviceaccount": map[string]any{"name": "api", "uid": "3b2c7b1e-27a5-4c0b-9a30-000000000001"},
		},
	}, change)
}

func spiffeToken(i *jwkstest.Issuer, change jwkstest.Claims) string {
	now := time.Now().Unix()
	return signedAs(i, "2", map[string]any{"typ": "JWT"}, jwkstest.Claims{
		"aud": []string{theAudience}, "exp": now + 300, "iat": now, "iss": i.URL, "sub": "spiffe://example.org/ns/payments/sa/api",
	}, change)
}

func githubToken(i *jwkstest.Issuer, change jwkstest.Claims) string {
	now := time.Now().Unix()
	return signedAs(i, "1", map[string]any{"typ": "JWT", "x5t": "eBZ_cn3sXYAd0ch4THBKHIgOwOE"}, jwkstest.Claims{
		"jti": uuid.NewString(), "sub": "repo:octo-org/octo-repo:environment:production", "environment": "production", "aud": theAudience,
		"ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12",
		"repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65", "run_id": "example-run-id", "run_number": "10",
		"run_attempt": "2", "runner_environment": "github-hosted", "actor": "octocat", "workflow": "release", "head_ref": "", "base_ref": "",
		"event_name": "workflow_dispatch", "ref_type": "branch", "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
		"iss": i.URL, "nbf": now - 300, "exp": now + 300, "iat": now,
	}, change)
}

func signedAs(i *jwkstest.Issuer, kid string, header map[string]any, claims, change jwkstest.Claims) string {
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return i.Sign(kid, header, text)
}

// recipes are the workload identities of docs/access.md by their names, of an issuer on
// this machine.
func recipes(t *testing.T, issuer *jwkstest.Issuer) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, match := range regexp.MustCompile("(?s)```json\n({\n.*?\n})\n```").FindAllStringSubmatch(readFile(t, "../docs/access.md"), -1) {
		var body map[string]any
		if err := json.Unmarshal([]byte(match[1]), &body); err != nil {
			t.Fatalf("%v: %s", err, match[1])
		}
		if body["issuer"] = issuer.URL; body["jwks_uri"] != nil {
			body["issuer"], body["jwks_uri"] = strings.Replace(issuer.URL, "http://", "https://", 1), issuer.JWKSURL() // as a cluster's, which is not reached
		}
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		found[body["name"].(string)] = string(text)
	}
	return found
}

// With the recipes of docs/access.md tokens of each platform sign, in their own tenant
// alone, until their identity is deleted; and the history says who did.
func TestWorkloadsSignIn(t *testing.T) {
	w, issuer := newWorld(t), newLocalIssuer(t)
	w.tenant("acme")
	w.tenant("other")
	bodies := recipes(t, issuer)
	secure := strings.Replace(issuer.URL, "http://", "https://", 1)
	for _, c := range []struct{ name, token, sub string }{
		{"kubernetes-payments", kubernetesToken(issuer, jwkstest.Claims{"iss": secure}), "system:serviceaccount:payments:api"},
		{"spiffe-payments", spiffeToken(issuer, nil), "spiffe://example.org/ns/payments/sa/api"},
		{"github-release", githubToken(issuer, nil), "repo:octo-org/octo-repo:environment:production"},
	} {
		sign := func(slug string) *answer {
			return w.do("POST", "/v1/tenants/"+slug+"/tokens", c.token, `{"claims":{"sub":"x"}}`)
		}
		sign("acme").problem(ProblemCodeUnauthenticated) // nobody trusts it yet
		made := w.workload("/v1/tenants/acme", bodies[c.name])
		sign("acme").ok(200)
		w.do("GET", "/v1/tenants/acme/audit", c.token, "").problem(ProblemCodeForbidden)
		unknown := w.do("POST", "/v1/tenants/nowhere/tokens", c.token, `{"claims":{}}`, "X-Request-Id", "same")
		unknown.problem(ProblemCodeUnauthenticated)
		unknown.same(w.do("POST", "/v1/tenants/other/tokens", c.token, `{"claims":{}}`, "X-Request-Id", "same"))
		w.do("GET", "/v1/tenants", c.token, "").problem(ProblemCodeUnauthenticated)

		var denied AuditEventList
		w.server.denials.writing.Wait()
		w.do("GET", "/v1/tenants/acme/audit?actor="+c.name, w.root, "").ok(200, &denied)
		if want := (Actor{Type: "workload", ID: made.ID.String() + "#" + c.sub, Name: c.name}); len(denied.Items) != 1 || denied.Items[0].Actor != want {
			t.Errorf("%s: %+v", c.name, denied.Items)
		}
		w.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").ok(204)
		sign("acme").problem(ProblemCodeUnauthenticated)
		w.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").problem(ProblemCodeNotFound)
		w.do("GET", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").problem(ProblemCodeNotFound)
		if strings.Contains(w.log.String(), strings.Split(c.token, ".")[2]) {
			t.Error("the log has a token")
		}
	}
	made := w.workload("/v1/tenants/acme", bodies["spiffe-payments"])
	w.do("POST", "/v1/tenants/acme/tokens", spiffeToken(issuer, nil), `{"claims":{}}`).ok(200)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.do("POST", "/v1/tenants/acme/tokens", spiffeToken(issuer, nil), `{"claims":{}}`).problem(ProblemCodeUnauthenticated)
	if n := scalar[int](w, `SELECT count(*) FROM workload_identities WHERE deleted_at IS NULL OR mac IS NOT NULL`); n != 0 {
		t.Errorf("%d identities outlive %s's tenant", n, made.Name)
	}
}

// The last use of a workload identity is in memory until it is flushed, for all requests at
// once; refused tokens are no use, and of two replicas the later one counts.
func TestLastUseOfAWorkload(t *testing.T) {
	w, issuer := newWorld(t), newLocalIssuer(t)
	w.tenant("acme")
	made := w.workload("/v1/tenants/acme", recipes(t, issuer)["spiffe-payments"])
	lastUse := func() (out WorkloadIdentity) {
		w.do("GET", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").ok(200, &out)
		return out
	}
	sign := func(change jwkstest.Claims) *answer {
		return w.do("POST", "/v1/tenants/acme/tokens", spiffeToken(issuer, change), `{"claims":{}}`)
	}
	flush := func() {
		t.Helper()
		if err := w.tenants.FlushLastUsed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sign(jwkstest.Claims{"sub": "spiffe://example.org/ns/billing/sa/api"}).problem(ProblemCodeUnauthenticated)
	flush()
	if at := lastUse().LastUsedAt; at != nil {
		t.Errorf("a refused token was a use, at %v", at)
	}
	before := scalar[string](w, `SELECT xmin::text FROM workload_identities`)
	began := w.clock.now().Truncate(time.Microsecond)
	for range 3 {
		sign(nil).ok(200)
	}
	ended := w.clock.now()
	if now := scalar[string](w, `SELECT xmin::text FROM workload_identities`); now != before {
		t.Error("requests write the row")
	}
	flush()
	used := lastUse().LastUsedAt
	if used == nil || used.Before(began) || used.After(ended) {
		t.Fatalf("last used at %v, not from %v to %v", used, began, ended)
	}
	dbtest.Exec(t, w.dsn, `UPDATE workload_identities SET last_used_at = last_used_at + interval '1 hour'`) // by another replica
	sign(nil).ok(200)
	flush()
	if at := lastUse().LastUsedAt; at == nil || !at.Equal(used.Add(time.Hour)) {
		t.Errorf("an earlier use replaced a later one: %v", at)
	}
	sign(nil).ok(200)
	w.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").ok(204)
	flush() // of one that is gone
}

// Whatever is not right about a token, it is refused, in the same words.
func TestWorkloadTokensThatAreRefused(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	issuer, stranger := newLocalIssuer(t), newLocalIssuer(t)
	w.tenant("acme")
	w.tenant("other")
	body := recipes(t, issuer)["github-release"]
	w.workload("/v1/tenants/acme", body)
	// The other tenant trusts the same issuer and audience, for a repository of its own, and
	// has the stranger's keys under the issuer's name.
	w.workload("/v1/tenants/other", strings.ReplaceAll(body, "octo-org", "other-org"))
	w.workload("/v1/tenants/other", `{"name":"evil","issuer":"`+strings.Replace(issuer.URL, "http://", "https://", 1)+`","jwks_uri":"`+stranger.JWKSURL()+`","audience":"`+theAudience+`","rules":[{"claim":"sub","prefix":"repo:octo-org/"}],"role":"tenant_admin"}`)
	now, network := time.Now().Unix(), byte(0)
	try := func(slug, token string) *answer {
		network++ // each is another client: wrong credentials are limited by network
		return w.do("GET", "/v1/tenants/"+slug, token, "", "X-Request-Id", "same", "X-Forwarded-For", netip.AddrFrom4([4]byte{198, 18, 0, network}).String())
	}
	try("acme", githubToken(issuer, nil)).ok(200)
	try("other", githubToken(issuer, jwkstest.Claims{"sub": "repo:other-org/octo-repo:environment:production"})).ok(200)
	tokens := map[string]string{
		"of another key":  stranger.Sign("1", nil, claimsOf(githubToken(issuer, nil))),
		"without a key":   unsigned(githubToken(issuer, nil)),
		"not yet trusted": githubToken(stranger, nil),
		"cut off":         githubToken(issuer, nil)[:200],
		"two dots":        "a.b.c",
	}
	for name, change := range map[string]jwkstest.Claims{
		"another audience":       {"aud": "https://keys.example.com/other"},
		"two audiences":          {"aud": []string{theAudience, "https://elsewhere.example.com"}},
		"no audience":            {"aud": nil},
		"another issuer":         {"iss": issuer.URL + "/"},
		"no issuer":              {"iss": nil},
		"expired":                {"exp": now - 60},
		"without end":            {"exp": nil},
		"not yet valid":          {"nbf": now + 120},
		"too long":               {"exp": now + 601},
		"too long, from then on": {"iat": now + 3600, "exp": now + 4000},
		"another subject":        {"sub": "repo:octo-org/octo-repo:pull_request"},
		"a longer subject":       {"sub": "repo:octo-org/octo-repo:environment:production2"},
		"in capitals":            {"sub": "REPO:octo-org/octo-repo:environment:production"},
		"no subject":             {"sub": nil},
		"another owner's id":     {"repository_owner_id": "66"},
		"an owner's number":      {"repository_owner_id": 65},
		"a claim that is absent": {"runner_environment": nil},
		"its own runner":         {"runner_environment": "self-hosted"},
		"an ID token":            {"at_hash": "x"},
	} {
		tokens[name] = githubToken(issuer, change)
	}
	var first *answer
	for name, token := range tokens {
		for _, slug := range []string{"acme", "other", "nowhere"} {
			a := try(slug, token)
			if a.problem(ProblemCodeUnauthenticated); first == nil {
				first = a
			}
			if first.same(a); t.Failed() {
				t.Fatalf("%s at %s", name, slug)
			}
		}
	}
	first.same(try("other", githubToken(issuer, nil)))
	late := w.clock.now().Add(20 * time.Minute).Unix()
	ofRevoked := githubToken(issuer, jwkstest.Claims{"iat": late, "nbf": late, "exp": late + 300})
	issuer.Revoke("1") // and the verifiers fetch the set again
	w.clock.pass(20 * time.Minute)
	first.same(try("acme", ofRevoked))

	away := newLocalIssuer(t)
	w.workload("/v1/tenants/acme", `{"name":"away","issuer":"`+away.URL+`","audience":"keyward","rules":[{"claim":"sub","equals":"job"}],"role":"tenant_signer"}`)
	away.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	try("acme", away.Token("1", jwkstest.Claims{"iat": late, "exp": late + 300, "aud": "keyward", "sub": "job"})).problem(ProblemCodeUnavailable)
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200) // keys do without it
}

// claimsOf returns the claims of a token.
func claimsOf(token string) []byte {
	text, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		panic(err)
	}
	return text.UnsafePayloadWithoutVerification()
}

// unsigned returns a token of the algorithm none.
func unsigned(token string) string {
	return "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."
}

// What an identity must not be, is refused: one that lets strangers in, whose keys are in
// the private network, or whose tokens Keyward itself signs.
func TestWorkloadIdentitiesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://login.acme.example"}`).ok(201)
	const at = "/v1/tenants/acme/workload-identities"
	with := func(member string, value any) string {
		var body map[string]any
		if err := json.Unmarshal([]byte(aWorkload), &body); err != nil {
			t.Fatal(err)
		}
		if body[member] = value; value == nil {
			delete(body, member)
		}
		text, _ := json.Marshal(body) // it came from JSON
		return string(text)
	}
	rule := func(members ...any) []map[string]any {
		r := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			r[members[i].(string)] = members[i+1]
		}
		return []map[string]any{r}
	}
	w.inert(func() {
		for _, c := range []struct {
			member string
			value  any
			field  string
		}{
			{"role", "platform_admin", "role"},
			{"role", nil, "role"},
			{"name", "", "name"},
			{"audience", "", "audience"},
			{"audience", "a\nb", "audience"},
			{"issuer", "ci.example.com", "issuer"},
			{"issuer", "https://ci.example.com/?x", "issuer"},
			{"issuer", "https://ci.example.com/#x", "issuer"},
			{"issuer", "https://user@ci.example.com", "issuer"},
			{"issuer", "http://ci.internal.example.com:99999", "issuer"},
			{"issuer", "https://10.0.0.1", "issuer"},
			{"issuer", "https://169.254.169.254", "issuer"},
			{"issuer", "https://2130706433", "issuer"},
			{"issuer", "file:///etc/passwd", "issuer"},
			{"issuer", testPublicURL + "/t/acme", "issuer"},
			{"issuer", "https://KEYS.example.com/t/other", "issuer"},
			{"issuer", "https://login.acme.example", "issuer"},
			{"jwks_uri", "https://10.0.0.1/jwks", "jwks_uri"},
			{"jwks_uri", "http://93.184.215.14/jwks", "jwks_uri"},
			{"jwks_uri", "x", "jwks_uri"},
			{"rules", []any{}, "rules"},
			{"rules", rule("claim", "environment", "equals", "production"), "rules"},
			{"rules", rule("claim", "sub"), "rules[0]"},
			{"rules", rule("claim", "sub", "equals", "a", "prefix", "b:c:"), "rules[0]"},
			{"rules", rule("claim", "sub", "prefix", "repo:"), "rules[0]"},
			{"rules", rule("claim", "sub", "prefix", "repo:octo-org"), "rules[0]"},
			{"rules", rule("claim", "sub", "prefix", ":/:/"), "rules[0]"},
			{"rules", rule("claim", "sub", "matches", ".*"), "rules[0].matches"},
			{"rules", rule("claim", "iss", "equals", "x"), "rules[0]"},
			{"rules", rule("claim", "sub", "one_of", []string{}), "rules[0].one_of"},
			{"max_token_lifetime_seconds", 59, "max_token_lifetime_seconds"},
			{"max_token_lifetime_seconds", 86401, "max_token_lifetime_seconds"},
			{"expires_at", "2020-01-01T00:00:00Z", "expires_at"},
		} {
			p := w.do("POST", at, w.root, with(c.member, c.value)).problem(ProblemCodeInvalidRequest)
			if len(p.Errors) == 0 || p.Errors[0].Field != c.field {
				t.Errorf("%s %v: %+v", c.member, c.value, p.Errors)
			}
		}
	})
	for range 50 {
		w.workload("/v1/tenants/acme", aWorkload)
	}
	w.do("POST", at, w.root, aWorkload).problem(ProblemCodePolicyViolation)
	defer func() { // one that is deleted makes room a day after it was made
		var page WorkloadIdentityList
		w.do("GET", at, w.root, "").ok(200, &page)
		w.do("DELETE", at+"/"+page.Items[0].ID.String(), w.root, "").ok(204)
		w.do("POST", at, w.root, aWorkload).problem(ProblemCodePolicyViolation)
		w.clock.pass(tenant.CountedFor + time.Minute)
		w.workload("/v1/tenants/acme", aWorkload)
		w.do("POST", at, w.root, aWorkload).problem(ProblemCodePolicyViolation)
	}()
	seen := map[uuid.UUID]bool{}
	for next := "?limit=20"; next != ""; {
		var page WorkloadIdentityList
		w.do("GET", at+next, w.root, "").ok(200, &page)
		for _, i := range page.Items {
			seen[i.ID] = true
		}
		if next = ""; page.NextCursor != nil {
			next = "?limit=20&cursor=" + *page.NextCursor
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d identities in the list", len(seen))
	}
}

// A tenant whose issuer an identity trusts signs nobody in by its own tokens, however it came
// to have that issuer: its signers would have the identity's role.
func TestTokensOfThisServiceSignNobodyIn(t *testing.T) {
	w, issuer := newWorld(t), newLocalIssuer(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	const trusted = "https://login.example.org/x"
	setIssuer := func(slug, issuer string) *answer {
		return w.do("PATCH", "/v1/tenants/"+slug, w.root, `{"issuer":`+issuer+`}`)
	}
	identity := func(slug, jwksURI string) WorkloadIdentity {
		return w.workload("/v1/tenants/"+slug, `{"name":"job","issuer":"`+trusted+`","jwks_uri":"`+jwksURI+`","audience":"keyward","rules":[{"claim":"sub","equals":"job"}],"role":"tenant_admin"}`)
	}
	tokenOf := func(of Tenant) string {
		var signed SignedToken
		w.do("POST", "/v1/tenants/"+of.Slug+"/tokens", w.key(tenant.TenantSigner, &of.ID), `{"claims":{"sub":"job","aud":"keyward"}}`).ok(200, &signed)
		return signed.Token
	}
	reads := func(slug, token string) *answer { return w.do("GET", "/v1/tenants/"+slug+"/audit", token, "") }
	late := func() jwkstest.Claims {
		return jwkstest.Claims{"iss": trusted, "aud": "keyward", "sub": "job", "iat": w.clock.now().Unix(), "exp": w.clock.now().Unix() + 300}
	}

	// Of the tenant's own identity, in each spelling that verifiers take for the same.
	made := identity("acme", w.url+"/t/acme/.well-known/jwks.json")
	for _, spelling := range []string{trusted, "https://LOGIN.example.org:443/x/", "https://login.example.org/x/"} {
		if p := setIssuer("acme", `"`+spelling+`"`).problem(ProblemCodeInvalidRequest); len(p.Errors) != 1 || p.Errors[0].Field != "issuer" {
			t.Errorf("%s: %+v", spelling, p.Errors)
		}
	}
	w.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").ok(204)
	setIssuer("acme", `"`+trusted+`"`).ok(200)
	w.do("POST", "/v1/tenants/acme/workload-identities", w.root, strings.Replace(aWorkload, "https://ci.example.com", "https://LOGIN.example.org/x/", 1)).problem(ProblemCodeInvalidRequest)
	setIssuer("acme", "null").ok(200)

	// Of another tenant's identity: it stops, and goes on when the issuer is its owner's again.
	identity("acme", w.url+"/t/other/.well-known/jwks.json")
	identity("acme", issuer.JWKSURL())
	reads("acme", issuer.Token("1", late())).ok(200)
	setIssuer("other", `"`+trusted+`"`).ok(200)
	ours := tokenOf(other)
	w.tenants.Invalidate() // or 30 seconds
	reads("acme", ours).problem(ProblemCodeUnauthenticated)
	reads("acme", issuer.Token("1", late())).problem(ProblemCodeUnauthenticated)
	w.do("DELETE", "/v1/tenants/other", w.root, "").ok(204)
	w.tenants.Invalidate()
	reads("acme", issuer.Token("1", late())).ok(200)

	// A row from before the public URL was the issuer's host.
	keys := custody.New(custody.Config{DB: w.db, URI: w.masterURI, Now: w.clock.now})
	if err := keys.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	elsewhere := tenant.New(tenant.Config{DB: w.db, Now: w.clock.now, Names: tenant.NewNamespace("https://login.example.org"), Authority: keys.Authority()})
	list, err := elsewhere.WorkloadsOf(t.Context(), acme.ID)
	if err != nil || len(list) != 2 || !list[0].IssuedHere || !list[1].IssuedHere {
		t.Errorf("%+v, %v", list, err)
	}
}

// A workload may do what an API key of its role may, but make credentials: they would
// outlive its token. It is no second person, and whoever made it is none to it.
func TestRoleMatrixOfWorkloads(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	issuer := newLocalIssuer(t)
	acme := w.tenant("acme")
	network := byte(0)
	ofTenant := maps.Clone(letters)
	delete(ofTenant, "P")
	delete(ofTenant, "p")
	identity := func(letter string, role tenant.Role) string {
		return `{"name":"` + letter + `","issuer":"` + issuer.URL + `","audience":"keyward","rules":[{"claim":"sub","equals":"` + letter + `"}],"role":"` + string(role) + `"}`
	}
	tokens := map[string]string{}
	for letter, role := range ofTenant {
		w.workload("/v1/tenants/acme", identity(letter, role))
		tokens[letter] = issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": letter})
	}
	w.inert(func() {
		for _, c := range w.matrix() {
			for letter, role := range ofTenant {
				network++ // each is another client: wrong credentials are limited by network
				a := w.do(c.method, c.url(), tokens[letter], c.body, "X-Forwarded-For", netip.AddrFrom4([4]byte{198, 18, 1, network}).String())
				if !c.ofTenant() {
					a.problem(ProblemCodeUnauthenticated)
				} else if did := a.StatusCode != 403; did != c.allows(role) || a.StatusCode == 401 || a.StatusCode >= 500 {
					t.Errorf("%s by %s: %d %s", c.OperationID, role, a.StatusCode, a.body)
				}
			}
		}
		for path, body := range map[string]string{"api-keys": `{"role":"tenant_signer"}`, "workload-identities": aWorkload} {
			w.do("POST", "/v1/tenants/acme/"+path, tokens["A"], body).problem(ProblemCodeForbidden)
		}
	})

	first, second := w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &acme.ID)
	var made WorkloadIdentity
	w.do("POST", "/v1/tenants/acme/workload-identities", first, identity("deployer", tenant.TenantAdmin)).ok(201, &made)
	if made.CreatedBy.ID != keyID(first) {
		t.Errorf("made by %+v", made.CreatedBy)
	}
	deployer := issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": "deployer"})
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["revoke_all"]}`).ok(200)
	asked := w.request("POST", revokeAllPath, deployer, compromised)
	w.decided(asked, first, "approve").problem(ProblemCodeForbidden)
	w.decided(asked, tokens["A"], "approve").problem(ProblemCodeForbidden)
	w.decided(w.request("POST", revokeAllPath, second, compromised), tokens["A"], "approve").problem(ProblemCodeForbidden)
	w.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), w.root, "").ok(204)
	w.decided(asked, first, "approve").problem(ProblemCodeForbidden) // the descent stays
	w.decided(asked, second, "approve").ok(200)

	// An identity ends no later than its maker, and with it.
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	maker := w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_admin","expires_at":"`+ends.Format(time.RFC3339)+`"}`)
	until := func(at time.Time) string {
		return strings.Replace(identity("ending", tenant.TenantSigner), "{", `{"expires_at":"`+at.Format(time.RFC3339)+`",`, 1)
	}
	for _, body := range []string{identity("ending", tenant.TenantSigner), until(ends.Add(time.Second))} {
		if p := w.do("POST", "/v1/tenants/acme/workload-identities", maker.Key, body).problem(ProblemCodePolicyViolation); len(p.Errors) != 1 || p.Errors[0].Field != "expires_at" {
			t.Errorf("%+v", p)
		}
	}
	w.do("POST", "/v1/tenants/acme/workload-identities", maker.Key, until(ends)).ok(201, &made)
	ending := issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": "ending"})
	w.do("GET", "/v1/tenants/acme", ending, "").ok(200)
	var done RevokedAPIKeys
	w.do("DELETE", "/v1/tenants/acme/api-keys/"+maker.ID.String()+"?children=true", w.root, "").ok(200, &done)
	if len(done.Revoked) != 2 || done.Revoked[1] != made.ID || done.ChildrenRevoked != 1 {
		t.Errorf("%+v", done)
	}
	w.do("GET", "/v1/tenants/acme", ending, "").problem(ProblemCodeUnauthenticated)
	w.workload("/v1/tenants/acme", until(ends))
	w.do("GET", "/v1/tenants/acme", ending, "").ok(200)
	w.clock.pass(time.Until(ends) + time.Second)
	late := w.clock.now().Unix()
	w.do("GET", "/v1/tenants/acme", issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": "ending", "iat": late, "exp": late + 300}), "").problem(ProblemCodeUnauthenticated)
}

// An identity that one replica deleted is refused by another that has it in memory, as
// soon as PostgreSQL has told it; streams opened with its tokens end. A row that Keyward
// did not write, or that was changed, lets nobody in.
func TestDeletedWorkloadIdentityEndsOnEveryReplica(t *testing.T) {
	here, issuer := newWorld(t), newLocalIssuer(t)
	acme := here.tenant("acme")
	there, told := here.replica(t)
	body := `{"name":"watch","issuer":"` + issuer.URL + `","audience":"keyward","rules":[{"claim":"sub","equals":"watch"}],"role":"tenant_auditor"}`
	token := issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": "watch"})
	there.do("GET", "/v1/tenants/acme", token, "").problem(ProblemCodeUnauthenticated) // it remembers that there is none
	made := here.workload("/v1/tenants/acme", body)
	await := func(status int) {
		t.Helper()
		for late := time.After(30 * time.Second); there.do("GET", "/v1/tenants/acme", token, "").StatusCode != status; {
			select {
			case <-told: // perhaps of something earlier
			case <-late:
				t.Fatal("the other replica never hears of it")
			}
		}
	}
	await(200)
	l := there.listenTo(there.tenantEvents("acme"), token, "")
	here.do("DELETE", "/v1/tenants/acme/workload-identities/"+made.ID.String(), here.root, "").ok(204)
	await(401)
	last := l.block()
	if last.event == "workload_identity.deleted" { // it heard of its end before it ended
		last = l.block()
	}
	l.endsWith(last, noCredential)

	kept := here.workload("/v1/tenants/acme", body)
	admin := issuer.Token("1", jwkstest.Claims{"aud": "keyward", "sub": "mine"})
	same := "name, issuer, audience, jwks_uri, max_token_lifetime_seconds, created_at, expires_at, creator_type, creator_id, creator_name, mac, maker_mac"
	insert := "INSERT INTO workload_identities (tenant_id, id, rules, role, " + same + ") SELECT tenant_id, gen_random_uuid(), '[{\"claim\":\"sub\",\"equals\":\"mine\"}]', 'tenant_admin', " + same +
		" FROM workload_identities WHERE id = '" + kept.ID.String() + "'"
	change := func(set string) string {
		return "UPDATE workload_identities SET " + set + " WHERE id = '" + kept.ID.String() + "'"
	}
	here.do("GET", "/v1/tenants/acme", token, "").ok(200)
	for _, c := range []struct{ token, sql string }{
		{admin, insert},
		{token, change("role = 'tenant_admin'")},
		{token, change("role = 'tenant_auditor', expires_at = now() + interval '1 year'")},
		{admin, change(`expires_at = NULL, rules = '[{"claim":"sub","equals":"mine"}]'`)},
		{token, "UPDATE workload_identities SET deleted_at = NULL WHERE id = '" + made.ID.String() + "'"},
	} {
		here.past(c.sql)
		here.do("GET", "/v1/tenants/acme", c.token, "").problem(ProblemCodeUnauthenticated)
	}
	forged, err := here.tenants.Forged(t.Context(), 2, 100)
	if text := strings.Join(forged, "\n"); err != nil || len(forged) != 3 || !strings.Contains(text, "workload identity "+made.ID.String()+" of tenant "+acme.ID.String()) {
		t.Errorf("%v: %s", err, text)
	}
	here.past("UPDATE workload_identities SET deleted_at = NULL, mac = 'x' WHERE id = '" + made.ID.String() + "'")
	back, err := here.tenants.Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := here.tenants.Restored(t.Context(), back); err != nil || !strings.Contains(strings.Join(rows, "\n"), "workload identity "+made.ID.String()) {
		t.Errorf("%v: %v", rows, err)
	}
}

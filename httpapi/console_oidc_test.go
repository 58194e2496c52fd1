package httpapi

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/signin"
)

const (
	consoleClient = "keyward-console"
	consoleSecret = "s3cret of the console"
)

// provider is an OpenID provider with one person, for browsers: the authorization code
// flow with PKCE (RFC 6749 section 4.1, RFC 7636), whose tokens are those of an Issuer.
type provider struct {
	*jwkstest.Issuer
	t testing.TB

	mu      sync.Mutex
	codes   map[string]url.Values // the authorization request of each code that is not redeemed yet
	person  jwkstest.Claims
	nonce   string // of the ID token; empty: that of the request
	iss     string // of its responses; empty: its URL
	broken  bool
	redeems int
}

// newWorldWithProvider starts a platform and the provider of its console. The provider is
// another site to browsers: localhost beside 127.0.0.1.
func newWorldWithProvider(t *testing.T) (*world, *provider) {
	t.Helper()
	p := &provider{t: t, codes: map[string]url.Values{}, person: personOf("P")}
	site := httptest.NewServer(p)
	t.Cleanup(site.Close)
	u, err := url.Parse(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.Issuer = jwkstest.New("http://localhost:" + u.Port())
	roles, err := signin.ParseMapping("groups=P:platform_admin,groups=A:tenant_admin@acme")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldLike(t, dbtest.New(t), func(c *Config) {
		s, err := signin.New(signin.Config{Issuer: p.URL, Audience: []string{"keyward"}, Roles: roles, Resolve: c.Tenants.Resolve, Now: c.Now, Log: c.Log})
		if err != nil {
			t.Fatal(err)
		}
		flow, err := signin.NewCodeFlow(s, signin.CodeFlowConfig{ClientID: consoleClient, ClientSecret: consoleSecret, Name: "Example ID"})
		if err != nil {
			t.Fatal(err)
		}
		c.SignIn, c.Console.Provider = s, flow
	})
	return w, p
}

// ServeHTTP implements [http.Handler].
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": p.URL, "jwks_uri": p.JWKSURL(), "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		})
	case "/authorize":
		p.authorize(w, r)
	case "/token":
		p.redeem(w, r)
	default:
		p.Issuer.ServeHTTP(w, r)
	}
}

// authorize shows the page on which the person signs in, and sends the browser back.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("client_id") != consoleClient || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		q.Get("nonce") == "" || q.Get("state") == "" || !strings.Contains(q.Get("scope"), "openid") || !strings.HasSuffix(q.Get("redirect_uri"), "/console/oidc/callback") {
		http.Error(w, "not an authorization request: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>Example ID</title><form method="post" action="%s"><button id="allow">Sign in as Alice</button></form>`, html.EscapeString(r.URL.RequestURI()))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := fmt.Sprintf("code-%d", len(p.codes)+p.redeems)
	p.codes[code] = q
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {cmp.Or(p.iss, p.URL)}}.Encode(), http.StatusSeeOther)
}

// redeem gives tokens for a code, once, to the client that can prove that it asked.
func (p *provider) redeem(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	fail := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
	}
	id, secret, _ := r.BasicAuth()
	if secret != url.QueryEscape(consoleSecret) || id != consoleClient {
		fail(http.StatusUnauthorized, "invalid_client")
		return
	}
	asked := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if asked == nil || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		fail(http.StatusBadRequest, "invalid_grant")
		return
	}
	p.redeems++
	identity := jwkstest.Claims{"aud": consoleClient, "nonce": asked.Get("nonce")}
	if p.nonce != "" {
		identity["nonce"] = p.nonce
	}
	for _, name := range []string{"sub", "name", "groups"} {
		identity[name] = p.person[name]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 900, "access_token": p.Token("1", p.person), "id_token": p.Token("1", identity)})
}

// Somebody who follows a link to a tenant's page signs in at the provider, which is
// another site, and is led to that page. Nothing of the sign-in stays in the browser but
// the session.
func TestConsoleSignInByProvider(t *testing.T) {
	w, idp := newWorldWithProvider(t)
	b := browsertest.New(t)
	w.tenant("acme")
	p := b.Open(w.url + "/console/tenants/acme/history?action=key.created")
	shoot(t, p, "sign-in-provider")
	if got := p.Eval(`document.querySelector("a.btn-main").textContent`); got != "Sign in with Example ID" {
		t.Fatalf("the first button is %q", got)
	}
	p.Click("a.btn-main")
	if got := p.Eval(`location.origin`); got != idp.URL {
		t.Fatalf("at %s, not at the provider:\n%s", got, p.DOM())
	}
	p.Click("#allow")
	p.AwaitLoad() // the page that the console's own cookie is sent for
	if got := p.Eval(`location.pathname + location.search`); got != "/console/tenants/acme/history?action=key.created" {
		t.Errorf("signed in, and at %s", got)
	}
	if got := p.Eval(`document.querySelector(".who a").textContent`); got != "Person P" {
		t.Errorf("signed in as %q", got)
	}
	if got := p.Eval(`document.cookie`); got != "" {
		t.Errorf("scripts read the cookie %q", got)
	}
	for _, r := range p.Foreign() {
		if !strings.HasPrefix(r.URL, idp.URL+"/") {
			t.Errorf("request to %s", r.URL)
		}
	}
	var list AuditEventList
	w.do("GET", "/v1/audit?action=session.created&limit=1", w.root, "").ok(200, &list)
	if len(list.Items) != 1 || list.Items[0].Actor != (Actor{Type: "oidc", ID: idp.URL + "#u-P", Name: "Person P"}) {
		t.Errorf("%+v", list.Items)
	}
	p.Goto("about:blank") // ends its event stream
}

// signInAt carries out the flow without scripts, and returns where it ends.
func (s *surfer) signInAt(idp *provider) shownPage {
	s.w.t.Helper()
	at := s.get("/console/oidc/start?next=%2Fconsole%2Faccount")
	resp, err := s.http.Post(idp.URL+at.Path, "application/x-www-form-urlencoded", nil)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return s.read(resp)
}

// A session of the provider ends with its tokens, and has the role that they give.
func TestConsoleSessionsOfTheProvider(t *testing.T) {
	w, idp := newWorldWithProvider(t)
	w.tenant("acme")
	w.tenant("other")
	idp.person = personOf("A")
	s := w.surfer()
	s.signInAt(idp).is(http.StatusOK).has(`url=/console/account`)
	s.get("/console/account").has("Person A", "Tenant administrator", "identity provider")
	s.get("/console/tenants/acme").is(http.StatusOK).has("/act/rotate")
	s.get("/console/tenants/other").is(http.StatusNotFound)
	idp.person = personOf("strangers")
	w.surfer().signInAt(idp).is(http.StatusForbidden).has("You are known, but you have no role here")
	idp.person, idp.nonce = personOf("P"), "of another sign-in"
	w.surfer().signInAt(idp).is(http.StatusUnauthorized).has("answer was not accepted")
	before := idp.redeems
	idp.nonce, idp.iss = "", "https://another.example" // RFC 9207: its code is not for this provider
	w.surfer().signInAt(idp).is(http.StatusUnauthorized).has("answer was not accepted")
	if idp.redeems != before {
		t.Error("a code of another provider was sent to this one")
	}
	idp.iss, idp.broken = "", true
	w.surfer().signInAt(idp).is(http.StatusServiceUnavailable).has("The identity provider does not answer", "next=%2Fconsole%2Faccount")
	w.clock.pass(14 * time.Minute)
	s.get("/console/account").has("Person A")
	w.clock.pass(2 * time.Minute)
	if p := s.get("/console/account"); !strings.HasPrefix(p.Path, "/console/sign-in") {
		t.Errorf("at %s after the tokens have ended", p.Path)
	}
	if strings.Contains(w.log.String(), consoleSecret) || strings.Contains(w.log.String(), url.QueryEscape(consoleSecret)) {
		t.Error("the log has the client's secret")
	}
}

// An answer that this browser did not ask for, or a second time, is no sign-in.
func TestConsoleRefusesForeignCallbacks(t *testing.T) {
	w, idp := newWorldWithProvider(t)
	mine, another := w.surfer(), w.surfer()
	mine.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	at := mine.get("/console/oidc/start")
	resp, err := mine.http.Post(idp.URL+at.Path, "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	callback := strings.TrimPrefix(mine.read(resp).Header.Get("Location"), w.url)
	another.get(callback).is(http.StatusUnauthorized).has("was not completed") // login CSRF
	another.get("/console/oidc/start")
	another.get(callback).is(http.StatusUnauthorized).has("was not completed")
	mine.get(callback + "x").is(http.StatusUnauthorized).has("was not completed") // the state; it ends the attempt
	mine.get(callback).is(http.StatusUnauthorized).has("was not completed")
	mine.get("/console/oidc/callback?error=access_denied&state=x").is(http.StatusUnauthorized).has("was not completed")
	if idp.redeems != 0 {
		t.Errorf("%d codes were redeemed", idp.redeems)
	}
	limited := false
	for range 40 { // a code of one's own invention costs a request to the provider
		s := w.surfer()
		at := s.get("/console/oidc/start")
		state := at.Path[strings.Index(at.Path, "state=")+6:]
		state, _, _ = strings.Cut(state, "&")
		limited = limited || s.get("/console/oidc/callback?code=guess&state="+state).Status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("forty wrong codes and no limit")
	}
}

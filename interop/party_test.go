package interop

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// provider is a tenant's own authorization server, which the tenant's metadata
// names. Keyward signs its ID tokens.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	tokens map[string]string // by code
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{tokens: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object{"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": p.tokens[r.FormValue("code")]})
	})
	p.Server = httptest.NewUnstartedServer(mux)
	cert, key := filepath.Join(t.TempDir(), "tls.pem"), filepath.Join(t.TempDir(), "tls.key")
	if err := trusted.certify(cert, key); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	p.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *provider) metadata() object {
	return object{"metadata": object{"authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token"}}
}

// grant returns the code for a token.
func (p *provider) grant(token string) (code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code = rand.Text()
	p.tokens[code] = token
	return code
}

// party is a relying party that signs people in: Apache with mod_auth_openidc.
type party struct {
	provider *provider
	tenant   *tenant
	url      string
}

// clientID is the one of the example.
const clientID = "my-client"

func startParty(t *testing.T, r *reader, p *provider, tn *tenant) *party {
	t.Helper()
	addr := serverAddr(t)
	startApache(t, r, tn, addr, "auth_openidc", "OIDCCABundlePath CABUNDLE")
	return &party{p, tn, "http://" + addr}
}

// login is a person's visit, sent to the provider and not yet back.
type login struct {
	*party
	client       *http.Client
	state, nonce string
	back         string
}

// begin visits a page that needs a signed-in user.
func (p *party) begin(t *testing.T) *login {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &login{party: p, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	to := l.visit(t, p.url+"/page")
	if !strings.HasPrefix(to.String(), p.provider.URL+"/authorize?") {
		t.Fatalf("sent to %s, not to the provider that the metadata names", to)
	}
	l.state, l.nonce, l.back = to.Query().Get("state"), to.Query().Get("nonce"), to.Query().Get("redirect_uri")
	return l
}

// visit returns where a page sends its visitor.
func (l *login) visit(t *testing.T, page string) *url.URL {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", page, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html") // other clients are not sent to sign in
	resp, err := l.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("%s: %s, %v", page, resp.Status, err)
	}
	return to
}

// token is an ID token for this visit, by the key that signs now.
func (l *login) token(t *testing.T, alg string) token {
	t.Helper()
	return answer[token](t, "POST", l.tenant.path("/tokens"), object{"alg": alg, "profile": "id_token", "claims": object{"sub": "alice", "aud": clientID, "nonce": l.nonce}})
}

// finish comes back with a code for the token.
func (l *login) finish(ctx context.Context, token string) (subject string, err error) {
	back := l.back + "?" + url.Values{"code": {l.provider.grant(token)}, "state": {l.state}}.Encode()
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, "GET", back, nil)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		resp, err := l.client.Do(req)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusFound {
			if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Subject") == "" {
				return "", errors.New(resp.Status)
			}
			return resp.Header.Get("X-Subject"), nil
		}
		back = resp.Header.Get("Location")
	}
	return "", fmt.Errorf("sent to %s", back)
}

// signIn is a whole visit, with a token by the key that signs now.
func (p *party) signIn(t *testing.T, what, alg string) (token, bool) {
	t.Helper()
	l := p.begin(t)
	tok := l.token(t, alg)
	return tok, session{verify: l.finish}.accepts(t, what, tok)
}

// observeParty is observe for a relying party, whose tokens carry the nonce of a
// visit: so it can be shown each but once.
func (r *reader) observeParty(t *testing.T) observation {
	p := startProvider(t)
	o := observation{reader: r, version: packaged(t, "libapache2-mod-auth-openidc")}
	for _, set := range mixedSets {
		tn := set.tenant(t).tenant
		answer[object](t, "PATCH", tn.path(""), p.metadata())
		at := startParty(t, r, p, tn)
		if _, accepted := at.signIn(t, "ES256, mixed set: "+set.name, "ES256"); !accepted {
			continue
		}
		o.reads, o.lacks = set.name, slices.Clone(set.lack)
		for _, alg := range algorithms {
			if !set.has(alg) {
				continue
			}
			if _, accepted := at.signIn(t, alg+", mixed set: "+set.name, alg); !accepted {
				o.lacks = append(o.lacks, alg)
			}
		}
		l := at.begin(t)
		session{verify: l.finish}.mustRefuse(t, "a forged token", forge(l.token(t, "ES256")))
		session{verify: at.begin(t).finish}.mustRefuse(t, "a token for another visit", l.token(t, "ES256"))
		break
	}
	o.liveParty(t, p)
	tn := largest(t)
	answer[object](t, "PATCH", tn.path(""), p.metadata())
	if _, accepted := startParty(t, r, p, tn).signIn(t, "RSA of 4096 bits", "RS256"); !accepted {
		t.Error("it refuses a token by RSA of 4096 bits, in the largest set of such keys")
	}
	return o
}

func (o *observation) liveParty(t *testing.T, p *provider) {
	tn := byHand(t, "ES256")
	answer[object](t, "PATCH", tn.path(""), p.metadata())
	must := func(at *party, what string) token {
		t.Helper()
		tok, accepted := at.signIn(t, what, "ES256")
		if !accepted {
			t.Errorf("it refuses %s", what)
		}
		return tok
	}
	rotate := func() {
		if err := tn.rotate(t.Context(), "ES256"); err != nil {
			t.Fatal(err)
		}
	}
	at := startParty(t, o.reader, p, tn)
	must(at, "a token before any rotation")
	rotate()
	must(at, "a token of a key that was published ahead")
	rotate()
	_, accepted := at.signIn(t, "a token of a key that its cache lacks", "ES256")
	o.refuses = !accepted

	for _, mode := range []string{"standby", "fresh"} {
		warm, fresh := startParty(t, o.reader, p, tn), startParty(t, o.reader, p, tn)
		stolen := must(warm, "a token before the revocation")
		early, late := warm.begin(t), fresh.begin(t)
		earlyToken, lateToken := early.token(t, "ES256"), late.token(t, "ES256")
		if _, err := tn.revoke(t.Context(), stolen, mode); err != nil {
			t.Fatal(err)
		}
		must(warm, "a token of the key that took over, "+mode)
		trusts := session{verify: early.finish}.accepts(t, "a token of the revoked key, "+mode, earlyToken)
		session{verify: late.finish}.mustRefuse(t, "a token of the revoked key, seen for the first time", lateToken)
		if mode == "standby" {
			o.trusts = trusts
		} else {
			o.keeps = trusts
		}
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/keyward/keyward"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/internal/age"
)

const (
	domain   = "acme.example"
	workload = "spiffe://acme.example/payments"
)

// platform is a running Keyward. Fronts reach it through a proxy, which can answer in its
// place.
type platform struct {
	admin  *client.Client
	server *httptest.Server
	proxy  atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)] // nil: Keyward answers
}

func startKeyward(t *testing.T) *platform {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	kw, err := keyward.Open(t.Context(), keyward.Config{
		DatabaseURL: dbtest.Empty(t), MasterKey: "file:" + filepath.Join(t.TempDir(), "master.json"), CreateMasterKey: true,
		PublicURL: "http://" + server.Listener.Addr().String(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kw.Close)
	p := &platform{server: server}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := p.proxy.Load(); answer != nil && strings.HasSuffix(r.URL.Path, "jwks.jwt") {
			(*answer)(w, r, kw)
			return
		}
		kw.ServeHTTP(w, r)
	})
	server.Start()
	t.Cleanup(server.Close)
	secret, err := kw.CreateAPIKey(t.Context(), "platform_admin", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	if p.admin, err = client.New(server.URL, secret); err != nil {
		t.Fatal(err)
	}
	return p
}

// tenant creates a tenant with a policy for each algorithm, the first the default one.
func (p *platform) tenant(t *testing.T, slug string, tenant client.CreateTenantRequest, algs ...client.Alg) {
	t.Helper()
	tenant.Slug = slug
	for i, alg := range algs {
		tenant.Policies = append(tenant.Policies, client.CreatePolicyRequest{Alg: alg, Default: new(i == 0)})
	}
	if _, err := p.admin.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
}

// token has a JWT-SVID signed.
func (p *platform) token(ctx context.Context, slug string, alg client.Alg) (string, error) {
	request := client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"` + workload + `","aud":["orders"]}`)}
	if alg != "" {
		request.Alg = &alg
	}
	signed, err := p.admin.SignToken(ctx, slug, request)
	if err != nil {
		return "", err
	}
	return signed.Token, nil
}

// endpoint is a running front and what a verifier must know of it.
type endpoint struct {
	front *front
	url   string // of the bundle of domain
	roots *x509.CertPool
	log   *lines
	ahead atomic.Int64 // how far the front's wall clock is ahead, in ns
	stop  func()
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func (p *platform) options(t *testing.T, tenants map[string]string) (options, *x509.CertPool) {
	t.Helper()
	roots, authority := newAuthority(t)
	o := options{url: p.server.URL, domains: tenants, pins: map[string][]string{}}
	o.certFile, o.keyFile = authority.issue(t, t.TempDir(), &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	return o, roots
}

// start serves the bundle of domain from the keys of the tenant acme.
func (p *platform) start(t *testing.T, changes ...func(*options)) *endpoint {
	t.Helper()
	o, roots := p.options(t, map[string]string{domain: "acme"})
	for _, change := range changes {
		change(&o)
	}
	e := &endpoint{roots: roots, log: &lines{}}
	var err error
	if e.front, err = newFront(t.Context(), o, slog.New(slog.NewTextHandler(e.log, nil))); err != nil {
		t.Fatal(err)
	}
	e.front.interval = 20 * time.Millisecond
	for _, s := range e.front.sources {
		s.now = func() time.Time { return time.Now().Add(time.Duration(e.ahead.Load())) }
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.url = "https://" + listener.Addr().String() + "/" + domain + "/bundle.json"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.front.serve(ctx, listener) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the front ended with %v", err)
		}
	})
	t.Cleanup(e.stop)
	return e
}

// fetch fetches the bundle with the library of the field.
func (e *endpoint) fetch(t *testing.T) *spiffebundle.Bundle {
	t.Helper()
	b, err := federation.FetchBundle(t.Context(), spiffeid.RequireTrustDomainFromString(domain), e.url, federation.WithWebPKIRoots(e.roots))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sequence(t *testing.T, b *spiffebundle.Bundle) uint64 {
	t.Helper()
	n, ok := b.SequenceNumber()
	if !ok {
		t.Fatal("the bundle has no sequence number")
	}
	return n
}

// get answers a request for the bundle.
func (e *endpoint) do(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, strings.TrimSuffix(e.url, "/"+domain+"/bundle.json")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := e.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func (e *endpoint) client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = e.roots
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A bundle has the keys of the algorithms of JWT-SVIDs, with the members that SPIFFE defines
// and no other. Tokens of each are accepted by the library of the field. Keys of other
// algorithms are left out, which the log says once.
func TestBundle(t *testing.T) {
	p := startKeyward(t)
	allowed := []client.Alg{"ES256", "ES384", "ES512", "RS256", "PS256"}
	p.tenant(t, "acme", client.CreateTenantRequest{JWKSMaxAgeSeconds: new(int64(120))}, append(slices.Clone(allowed), "EdDSA", "ML-DSA-44")...)
	e := p.start(t)
	b := e.fetch(t)
	if hint, _ := b.RefreshHint(); hint != 120*time.Second || len(b.JWTAuthorities()) != 2*len(allowed) || len(b.X509Authorities()) != 0 {
		t.Errorf("hint %v, %d keys; want 2m0s and an active and a standby key for each algorithm", hint, len(b.JWTAuthorities()))
	}
	for _, alg := range allowed {
		token, err := p.token(t.Context(), "acme", alg)
		if err != nil {
			t.Fatal(err)
		}
		svid, err := jwtsvid.ParseAndValidate(token, b, []string{"orders"})
		if err != nil || svid.ID.String() != workload {
			t.Errorf("%s: %v, %v", alg, svid, err)
		}
		if _, err := jwtsvid.ParseAndValidate(token, b, []string{"invoices"}); err == nil {
			t.Errorf("%s: a token for another audience is accepted", alg)
		}
	}
	response, body := e.do(t, "GET", "/"+domain+"/bundle.json")
	var document struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, %v", response.Header, err)
	}
	members := []string{"crv", "e", "kid", "kty", "n", "use", "x", "y"}
	for _, key := range document.Keys {
		for name := range key {
			if !slices.Contains(members, name) {
				t.Errorf("a key has the member %s", name)
			}
		}
		if key["use"] != "jwt-svid" {
			t.Errorf("a key has the use %v", key["use"])
		}
	}
	if again, _ := e.do(t, "GET", "/"+domain+"/bundle.json", "If-None-Match", response.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same bundle again is answered by %s", again.Status)
	}
	before := e.log.count("alg=")
	source := e.front.sources[domain]
	fetched := source.current.Load()
	eventually(t, "the set is fetched again", func() bool { return source.current.Load() != fetched })
	if e.log.count("alg=EdDSA") != 1 || e.log.count("alg=ML-DSA-44") != 1 || e.log.count("alg=") != before || before != 2 {
		t.Error("the log does not say once which keys are left out")
	}
}

// watcher collects the bundles that a verifier gets.
type watcher struct {
	*spiffebundle.Set
	sequences []uint64
	failed    []error
	latest    atomic.Pointer[spiffebundle.Bundle]
}

func (w *watcher) NextRefresh(time.Duration) time.Duration { return 20 * time.Millisecond }
func (w *watcher) OnError(err error)                       { w.failed = append(w.failed, err) }
func (w *watcher) OnUpdate(b *spiffebundle.Bundle) {
	n, _ := b.SequenceNumber()
	w.sequences = append(w.sequences, n)
	w.Add(b)
	w.latest.Store(b)
}

// While keys rotate, no token fails at a verifier that watches the bundle, neither when it is
// made nor until it expires, and the sequence number rises with every bundle.
func TestRotationUnderLoad(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	e := p.start(t)
	w := &watcher{Set: spiffebundle.NewSet()}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		watched <- federation.WatchBundle(ctx, spiffeid.RequireTrustDomainFromString(domain), e.url, w, federation.WithWebPKIRoots(e.roots))
	}()
	eventually(t, "the watcher has a bundle", func() bool { return w.latest.Load() != nil })
	const rotations, signers = 4, 3
	done := make(chan struct{})
	tokens := make([][]string, signers)
	var group sync.WaitGroup
	for i := range signers {
		group.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true // one more after the last rotation
				default:
				}
				token, err := p.token(t.Context(), "acme", "")
				if err == nil {
					_, err = jwtsvid.ParseAndValidate(token, w, []string{"orders"})
				}
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i] = append(tokens[i], token)
			}
		})
	}
	for range rotations {
		rotated, err := p.admin.RotateKeys(t.Context(), "acme", client.RotateRequest{})
		if err != nil {
			t.Error(err)
			break
		}
		// The lead of a policy gives verifiers this time before the next rotation.
		eventually(t, "the watcher has the next key", func() bool { return w.latest.Load().HasJWTAuthority(rotated.Standby.KID) })
	}
	close(done)
	group.Wait()
	cancel()
	if err := <-watched; !errors.Is(err, context.Canceled) || len(w.failed) > 0 {
		t.Errorf("the watcher ended with %v, and had the errors %v", err, w.failed)
	}
	kids := map[string]bool{}
	for _, token := range slices.Concat(tokens...) {
		if _, err := jwtsvid.ParseAndValidate(token, w, []string{"orders"}); err != nil {
			t.Fatal(err)
		}
		kids[strings.Split(token, ".")[0]] = true
	}
	if len(kids) < 2 || len(w.sequences) <= rotations || !slices.IsSorted(w.sequences) || len(slices.Compact(slices.Clone(w.sequences))) != len(w.sequences) {
		t.Errorf("%d keys signed, sequences %v", len(kids), w.sequences)
	}
}

// A revoked key leaves the bundle, and with it its tokens. All keys may leave it: it is empty
// then.
func TestRevocation(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "EdDSA", "ES256")
	e := p.start(t)
	token, err := p.token(t.Context(), "acme", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	before := e.fetch(t)
	if _, err := jwtsvid.ParseAndValidate(token, before, []string{"orders"}); err != nil {
		t.Fatal(err)
	}
	revoked, err := p.admin.RevokeActiveKey(t.Context(), "acme", nil, client.RevokeActiveKeyJSONRequestBody{Alg: new(client.Alg("ES256")), Reason: "compromised"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key has left", func() bool { return !e.fetch(t).HasJWTAuthority(revoked.Key.KID) })
	after := e.fetch(t)
	if _, err := jwtsvid.ParseAndValidate(token, after, []string{"orders"}); err == nil {
		t.Error("a token of a revoked key is accepted")
	}
	if sequence(t, after) <= sequence(t, before) {
		t.Errorf("the sequence went from %d to %d", sequence(t, before), sequence(t, after))
	}
	if token, err = p.token(t.Context(), "acme", "ES256"); err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(token, after, []string{"orders"}); err != nil {
		t.Error(err)
	}
}

// While Keyward does not answer, the last bundle is served for as long as stale-if-error says
// and the signed set has not expired. Then there is none, as there is none of a tenant that
// was deleted.
func TestOutage(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{JWKSMaxAgeSeconds: new(int64(1)), JWKSStaleWhileRevalidateSeconds: new(int64(0)), JWKSStaleIfErrorSeconds: new(int64(0))}, "ES256")
	p.tenant(t, "patient", client.CreateTenantRequest{}, "ES256")
	e := p.start(t, func(o *options) { o.domains["patient.example"] = "patient" })
	late := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
	patient := e.front.sources["patient.example"]
	expires := patient.current.Load().expires
	logged := func(what string) bool {
		return e.log.count(what+`" trust_domain=`+domain) > 0 && e.log.count(what+`" trust_domain=patient.example`) > 0
	}
	broken := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) }
	p.proxy.Store(&broken)
	p.server.CloseClientConnections()
	eventually(t, "the log names the outage of both", func() bool { return logged("as long as it may be used") })
	e.ahead.Add(int64(minKeep + time.Second))
	eventually(t, "the bundle without stale-if-error is gone", func() bool {
		response, _ := e.do(t, "GET", "/"+domain+"/bundle.json")
		return response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != ""
	})
	if response, body := e.do(t, "GET", "/readyz"); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, domain) || strings.Contains(body, "patient") {
		t.Errorf("%s: %s", response.Status, body)
	}
	if response, _ := e.do(t, "GET", "/patient.example/bundle.json"); response.StatusCode != http.StatusOK {
		t.Errorf("the bundle with stale-if-error: %s", response.Status)
	}
	for d, usable := range map[time.Duration]bool{0: true, 23 * time.Hour: true, 86800 * time.Second: false, -time.Hour: false} {
		if got := patient.current.Load().isUsable(late(d)); got != usable {
			t.Errorf("%v later the bundle is usable: %t", d, got)
		}
	}
	long := *patient.current.Load()
	long.keep = 1000 * time.Hour
	if !long.isUsable(late(time.Until(expires)-time.Minute)) || long.isUsable(late(time.Until(expires)+time.Second)) {
		t.Error("the exp of the set does not end the bundle")
	}
	p.proxy.Store(nil)
	eventually(t, "there is a bundle again", func() bool { response, _ := e.do(t, "GET", "/readyz"); return response.StatusCode == http.StatusOK })
	eventually(t, "the log names the end of the outage of both", func() bool { return logged("fetched again") })
	if _, err := p.admin.DeleteTenant(t.Context(), "patient"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deleted tenant has no bundle", func() bool {
		response, _ := e.do(t, "GET", "/patient.example/bundle.json")
		return response.StatusCode == http.StatusServiceUnavailable
	})
}

// Between two requests to a Keyward that answers there always is a bundle, also of a tenant
// that allows no caching at all, and if the answers take nearly as long as they may.
func TestNoCaching(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{JWKSMaxAgeSeconds: new(int64(0)), JWKSStaleWhileRevalidateSeconds: new(int64(0)), JWKSStaleIfErrorSeconds: new(int64(0))}, "ES256")
	e := p.start(t)
	source := e.front.sources[domain]
	e.fetch(t)
	const slowAnswers = 3 // more would take the clock beyond the exp of the set
	var answers, missing atomic.Int64
	slow := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if answers.Add(1) <= slowAnswers {
			e.ahead.Add(int64(fetchTimeout * 3 / 4))
		}
		if source.usable() == nil {
			missing.Add(1)
		}
		next.ServeHTTP(w, r)
	}
	p.proxy.Store(&slow)
	eventually(t, "the set is fetched again", func() bool { return answers.Load() > slowAnswers })
	e.fetch(t)
	if n := missing.Load(); n > 0 {
		t.Errorf("%d times there was no bundle before the next answer", n)
	}
	for control, want := range map[string]time.Duration{
		"":                            fetchTimeout + pollInterval + fetchTimeout,
		"max-age=5, stale-if-error=0": fetchTimeout + pollInterval + fetchTimeout,
		"max-age=60":                  time.Minute,
		"public, max-age=300, stale-while-revalidate=60, stale-if-error=86400": 86700 * time.Second,
	} {
		set := &signedSet{claims: []byte(`{"exp":1,"version":1}`)}
		b, err := newBundle(set, http.Header{"Cache-Control": {control}}, age.Now())
		if err != nil || b.keep != want {
			t.Errorf("%q: the bundle is kept for %v, %v; want %v", control, b.keep, err, want)
		}
	}
}

// Fronts have no state and yet the same sequence numbers, which do not fall when one starts
// again or is given an older set.
func TestSequence(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	first, second := p.start(t), p.start(t)
	before := sequence(t, first.fetch(t))
	if other := sequence(t, second.fetch(t)); other != before {
		t.Errorf("two fronts have the sequences %d and %d", before, other)
	}
	_, old := p.get(t, "/t/acme/.well-known/jwks.jwt")
	if _, err := p.admin.RotateKeys(t.Context(), "acme", client.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both have the new set", func() bool { return sequence(t, first.fetch(t)) > before && sequence(t, second.fetch(t)) > before })
	now := sequence(t, first.fetch(t))
	first.stop()
	if again := sequence(t, p.start(t).fetch(t)); again < now {
		t.Errorf("the sequence fell from %d to %d by a start", now, again)
	}
	// A cache on the way has the set of before.
	answered := make(chan struct{}, 1)
	stale := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Cache-Control", "max-age=300")
		_, _ = w.Write(old)
		select {
		case answered <- struct{}{}:
		default:
		}
	}
	p.proxy.Store(&stale)
	<-answered
	eventually(t, "the older set is refused", func() bool { return second.log.count(errOlder.Error()) > 0 })
	if got := sequence(t, second.fetch(t)); got < now {
		t.Errorf("the sequence fell from %d to %d", now, got)
	}
	for _, test := range []struct {
		epoch, version int64
		want           uint64
	}{{0, 1, 1}, {0, 1<<40 - 1, 1<<40 - 1}, {1, 1, 1<<40 + 1}, {8191, 1<<40 - 1, 1<<53 - 1}, {0, 0, 0}, {0, 1 << 40, 0}, {8192, 1, 0}, {-1, 1, 0}, {0, -1, 0}} {
		if got, err := sequenceOf(test.epoch, test.version); got != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("epoch %d, version %d: %d, %v; want %d", test.epoch, test.version, got, err, test.want)
		}
	}
}

// get returns what Keyward answers.
func (p *platform) get(t *testing.T, path string) (*http.Response, []byte) {
	t.Helper()
	response, err := http.Get(p.server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return response, body
}

// With a pin a set of another key is refused, whoever serves it. The chain of sets goes on
// over rotations, and with a state directory over starts too.
func TestPin(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	p.tenant(t, "mallory", client.CreateTenantRequest{}, "ES256")
	keys, err := p.admin.ListKeys(t.Context(), "acme", &client.ListKeysParams{State: new(client.KeyState("active"))})
	if err != nil || len(keys.Items) != 1 {
		t.Fatal(keys, err)
	}
	state, pin := t.TempDir(), keys.Items[0].KID
	pinned := func(o *options) { o.pins[domain], o.state = []string{pin}, state }
	e := p.start(t, pinned)
	for range 3 {
		rotated, err := p.admin.RotateKeys(t.Context(), "acme", client.RotateRequest{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new set is accepted", func() bool { return e.fetch(t).HasJWTAuthority(rotated.Standby.KID) })
	}
	_, foreign := p.get(t, "/t/mallory/.well-known/jwks.jwt")
	_, plain := p.get(t, "/t/acme/.well-known/jwks.json")
	_, own := p.get(t, "/t/acme/.well-known/jwks.jwt")
	own[len(own)-2] ^= 1
	before := e.fetch(t)
	for name, text := range map[string][]byte{"foreign": foreign, "unsigned": plain, "broken": own, "empty": nil} {
		count := e.log.count("cannot be fetched")
		forged := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write(text) }
		p.proxy.Store(&forged)
		eventually(t, name+" is refused", func() bool { return e.log.count("cannot be fetched") > count })
		if !e.fetch(t).Equal(before) {
			t.Errorf("a %s set changed the bundle", name)
		}
		p.proxy.Store(nil)
		eventually(t, "Keyward is heard again", func() bool { return e.log.count("fetched again") > count })
	}
	e.stop()
	if _, err := p.admin.RevokeKey(t.Context(), "acme", pin, nil, client.RevokeRequest{Reason: "superseded"}); err != nil {
		t.Fatal(err)
	}
	// The pinned key is gone: a start with the state knows the chain, one without does not.
	p.start(t, pinned)
	o, _ := p.options(t, map[string]string{domain: "acme"})
	o.pins[domain] = []string{pin}
	if _, err := newFront(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "not signed by a trusted key") {
		t.Errorf("a pin of a key that is gone: %v", err)
	}
	// Without a pin a set must be signed as well.
	o.pins = nil
	for name, text := range map[string][]byte{"unsigned": plain, "broken": own, "empty": nil, "no payload": []byte("e30.e30.e30"), "no base64": []byte("e30.!.e30")} {
		forged := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write(text) }
		p.proxy.Store(&forged)
		if _, err := newFront(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "not signed") {
			t.Errorf("a %s set without a pin: %v", name, err)
		}
	}
}

// What cannot work is refused at the start, with the reason.
func TestRefusals(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	p.tenant(t, "modern", client.CreateTenantRequest{}, "EdDSA")
	about, err := p.admin.GetTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	o, _ := p.options(t, nil)
	for flags, want := range map[string]string{
		"--trust-domain=Acme.example=acme":                                            "lower case",
		"--trust-domain=spiffe://acme.example=acme":                                   "lower case",
		"--trust-domain=acme.example:443=acme":                                        "lower case",
		"--trust-domain=acme%2eexample=acme":                                          "lower case",
		"--trust-domain=ácme.example=acme":                                            "lower case",
		"--trust-domain==acme":                                                        "lower case",
		"--trust-domain=" + strings.Repeat("a", 256) + "=acme":                        "lower case",
		"--trust-domain=acme.example":                                                 "give name=tenant",
		"--trust-domain=a.example=acme --trust-domain=a.example=modern":               "given twice",
		"--trust-domain=a.example=acme --trust-domain=b.example=" + about.ID.String(): "of the same tenant",
		"--trust-domain=a.example=modern":                                             "no key of an algorithm",
		"--trust-domain=a.example=nobody":                                             "tenant_not_found",
		"--trust-domain=a.example=acme --pin=b.example=x":                             "not served",
		"--trust-domain=a.example=acme --pin=a.example=x":                             "not a SHA-256 thumbprint",
		"--trust-domain=a.example=acme --url=http://keys.example.com":                 "https",
		"--trust-domain=a.example=acme --url=https://u:p@keys.example.com":            "without user",
		"--trust-domain=a.example=acme --tls-key=" + o.certFile:                       "certificate",
		"--url=" + p.server.URL:                                                       "give --url",
		"--trust-domain=a.example=acme extra":                                         "nothing but flags",
	} {
		args := append([]string{"--tls-cert", o.certFile, "--tls-key", o.keyFile, "--addr", "127.0.0.1:0"}, strings.Fields(flags)...)
		environment := func(name string) string { return map[string]string{"KEYWARD_URL": p.server.URL}[name] }
		if err := run(t.Context(), args, environment, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flags, err, want)
		}
	}
	e := p.start(t)
	for request, want := range map[string]int{
		"GET /other.example/bundle.json": 404, "GET /Acme.example/bundle.json": 404, "GET /acme/bundle.json": 404, "GET /": 404, "GET /" + domain: 404,
		"POST /" + domain + "/bundle.json": 405, "HEAD /" + domain + "/bundle.json": 200, "GET /healthz": 200, "GET /readyz": 200,
	} {
		method, path, _ := strings.Cut(request, " ")
		if response, _ := e.do(t, method, path); response.StatusCode != want {
			t.Errorf("%s: %s, want %d", request, response.Status, want)
		}
	}
}

// A renewed certificate is used without a new start. If it is an X509-SVID, the endpoint is
// one of the profile https_spiffe too.
func TestCertificate(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	var files string
	e := p.start(t, func(o *options) { files = filepath.Dir(o.certFile) })
	roots, authority := newAuthority(t)
	id := spiffeid.RequireFromString("spiffe://infra.example/bundles")
	authority.issue(t, files, &x509.Certificate{URIs: []*url.URL{id.URL()}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.front.certs.follow(ctx, 10*time.Millisecond, e.front.log)
	trusted := x509bundle.FromX509Authorities(id.TrustDomain(), []*x509.Certificate{authority.certificate})
	eventually(t, "the new certificate is used", func() bool {
		_, err := federation.FetchBundle(t.Context(), spiffeid.RequireTrustDomainFromString(domain), e.url, federation.WithSPIFFEAuth(trusted, id))
		return err == nil
	})
	if err := os.WriteFile(filepath.Join(files, "key.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log names the broken file", func() bool { return e.log.count("the last certificate stays in use") > 0 })
	if _, err := federation.FetchBundle(t.Context(), spiffeid.RequireTrustDomainFromString(domain), e.url, federation.WithSPIFFEAuth(trusted, id)); err != nil {
		t.Error(err)
	}
	if _, err := federation.FetchBundle(t.Context(), spiffeid.RequireTrustDomainFromString(domain), e.url, federation.WithWebPKIRoots(roots)); err == nil {
		t.Error("a certificate without the host's name is accepted by the profile https_web")
	}
}

// The service manager hears when requests are answered, and when no longer.
func TestServiceManager(t *testing.T) {
	p := startKeyward(t)
	p.tenant(t, "acme", client.CreateTenantRequest{}, "ES256")
	dir, err := os.MkdirTemp("", "bundle") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"}
	manager, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", address.Name)
	heard := func() string {
		text := make([]byte, 100)
		n, err := manager.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	e := p.start(t)
	if got := heard(); got != "READY=1" {
		t.Errorf("at the start: %s", got)
	}
	e.fetch(t)
	e.stop()
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("at the end: %s", got)
	}
}

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) (*x509.CertPool, *authority) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return roots, &authority{certificate, key}
}

// issue writes a certificate and its key to a directory.
func (a *authority) issue(t *testing.T, dir string, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(2), a.certificate.NotBefore, a.certificate.NotAfter
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// detour sends what is meant for the public URL to the test's server.
type detour struct{ to string }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := url.Parse(d.to)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// migration is a tenant on its way from one algorithm to another, and a service
// elsewhere that has its tokens.
type migration struct {
	*world
	client *jwks.Client
	tokens []SignedToken
}

// newMigration finds the keys by discovery and fetches them only by their age,
// as the most reluctant verifier does.
func newMigration(t *testing.T, from Alg) *migration {
	m := &migration{world: newWorld(t)}
	m.do("POST", "/v1/tenants", m.root, fmt.Sprintf(`{"slug":"acme","policies":[{"alg":%q,"default":true}]}`, from)).ok(201)
	keys, err := jwks.New(jwks.Config{
		Issuer: testPublicURL + "/t/acme", HTTPClient: &http.Client{Transport: detour{m.url}}, Now: m.clock.now, UnknownKidsPerMinute: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	m.client = keys
	return m
}

// step signs with the default and demands that every token so far is accepted
// by who accepts the algorithms that discovery names.
func (m *migration) step(name string, signs Alg, named ...Alg) {
	m.t.Helper()
	signed := m.sign("acme", `{"claims":{"sub":"alice"},"ttl_seconds":3600}`)
	m.tokens = append(m.tokens, signed)
	if header, err := jose.ParseSignedCompact(signed.Token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(signs)}); err != nil {
		m.t.Errorf("%s: %+v: %v", name, header, err)
	}
	var d Discovery
	m.do("GET", "/t/acme/.well-known/openid-configuration", "", "").ok(200, &d)
	if !reflect.DeepEqual(d.IDTokenSigningAlgValuesSupported, named) {
		m.t.Errorf("%s: discovery names %v, want %v", name, d.IDTokenSigningAlgValuesSupported, named)
	}
	m.accepted(name, d.IDTokenSigningAlgValuesSupported)
}

func (m *migration) accepted(name string, algs []Alg) {
	m.t.Helper()
	config := jwks.VerifierConfig{Client: m.client, Issuer: testPublicURL + "/t/acme", AnyAudience: true, Now: m.clock.now}
	for _, alg := range algs {
		config.Algorithms = append(config.Algorithms, jose.SignatureAlgorithm(alg))
	}
	v, err := jwks.NewVerifier(config)
	if err != nil {
		m.t.Fatal(err)
	}
	for i, token := range m.tokens {
		if _, err := v.Verify(m.t.Context(), token.Token); err != nil || !m.judge("acme", token.Token).Valid {
			m.t.Errorf("%s: token %d: %v, and here %+v", name, i, err, m.judge("acme", token.Token))
		}
	}
}

// algorithms are those of the published keys, and how many have them.
func (m *migration) algorithms() map[string]int {
	m.t.Helper()
	var set jose.JSONWebKeySet
	m.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200, &set)
	count := map[string]int{}
	for _, k := range set.Keys {
		count[k.Algorithm]++
	}
	return count
}

// A tenant changes its algorithm as docs/algorithms.md says: no token fails.
func TestAlgorithmMigration(t *testing.T) {
	for _, way := range [][2]Alg{{"ES256", "RS256"}, {"EdDSA", "Ed25519"}} {
		from, to := way[0], way[1]
		t.Run(strings.Join([]string{string(from), string(to)}, " to "), func(t *testing.T) {
			m := newMigration(t, from)
			path := "/v1/tenants/acme/policies/"
			m.step("before", from, from)

			m.do("PUT", path+string(to), m.root, `{}`).ok(201)
			m.step("both published", from, from, to)

			m.clock.pass(6 * time.Minute) // Cache-Control: max-age and stale-while-revalidate
			m.step("known everywhere", from, from, to)
			m.do("PUT", path+string(to), m.root, `{"default":true}`).ok(200)
			m.step("switched", to, to, from)

			m.do("DELETE", path+string(from), m.root, "").ok(204)
			m.step("retired", to, to, from)
			m.do("POST", "/v1/tenants/acme/tokens", m.root, fmt.Sprintf(`{"claims":{},"alg":%q}`, from)).problem(ProblemCodePolicyViolation)
			m.outlive(from, to)
		})
	}
}

// outlive waits for the end of the grace period of what was retired.
func (m *migration) outlive(from, to Alg) {
	m.t.Helper()
	m.clock.pass(m.tokens[0].ExpiresAt.Sub(m.clock.now()) - time.Second)
	m.accepted("the last second of the first token", []Alg{to, from})
	m.tokens = nil // they expire

	left := m.deprecated(from)
	m.clock.pass(left.ExpiresAt.Sub(m.clock.now()) - time.Minute)
	m.step("the end of the grace period", to, to, from)
	m.clock.pass(2 * time.Minute)
	if _, err := m.store.RunDue(m.t.Context(), operator, 100); err != nil {
		m.t.Fatal(err)
	}
	m.snapshots.Missed()
	m.step("after it", to, to)
	if got := m.algorithms(); got[string(from)] != 0 || got[string(to)] < 2 {
		m.t.Errorf("published: %v", got)
	}
}

// deprecated is the deprecated key of an algorithm.
func (m *migration) deprecated(alg Alg) Key {
	m.t.Helper()
	for _, k := range m.keys("acme", KeyStateDeprecated) {
		if k.Alg == alg {
			return k
		}
	}
	m.t.Fatalf("no key of %s is deprecated", alg)
	return Key{}
}

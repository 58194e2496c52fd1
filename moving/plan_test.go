package moving

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var (
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	here = Options{Now: noon, KeepFor: 48 * time.Hour, As: Standby}
	both = Target{Policies: []string{"ES256", "RS256"}}
)

func private(kid, alg string) Key {
	k := public(kid, alg)
	text, _ := (&jose.JSONWebKey{Key: signerOf(alg)}).MarshalJSON()
	k.State, k.Private = "private", text
	return k
}

func public(kid, alg string) Key {
	jwk, _ := publicJWK(signerOf(alg).Public())
	return Key{KID: kid, Alg: alg, State: "public", Public: jwk}
}

var planEC, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)

func signerOf(alg string) crypto.Signer {
	if alg == "ES256" {
		return planEC
	}
	return rsaKey()
}

func fates(steps []Step) string {
	var all []string
	for _, s := range steps {
		all = append(all, s.KID+" "+s.Becomes)
	}
	return strings.Join(all, ", ")
}

func TestPlan(t *testing.T) {
	source := []Key{private("a", "RS256"), private("b", "RS256"), private("c", "ES256"), public("d", "PS256")}
	with := func(change func(*Options)) Options { o := here; change(&o); return o }
	there := func(known ...Known) Target { t := both; t.Keys = known; return t }
	same := func(kid, alg, state string) Known {
		return Known{KID: kid, Alg: alg, State: state, Thumbprint: public(kid, alg).Public.Thumbprint(), Imported: true}
	}
	for name, c := range map[string]struct {
		target Target
		opts   Options
		want   string
	}{
		"first of each algorithm signs": {both, here, "a standby, b deprecated, c standby, d deprecated"},
		"at once":                       {both, with(func(o *Options) { o.As = Active }), "a active, b deprecated, c active, d deprecated"},
		"verify only":                   {both, with(func(o *Options) { o.As = VerifyOnly }), "a deprecated, b deprecated, c deprecated, d deprecated"},
		"another signs":                 {both, with(func(o *Options) { o.Signs = "b" }), "a deprecated, b standby, c deprecated, d deprecated"},
		"no policy":                     {Target{Policies: []string{"RS256"}}, here, "a standby, b deprecated, c refused, d deprecated"},
		"all there":                     {there(same("a", "RS256", "active"), same("b", "RS256", "active"), same("c", "ES256", "standby"), same("d", "PS256", "deprecated")), here, "a there, b there, c there, d there"},
		"the signer there":              {there(same("a", "RS256", "deprecated")), here, "a there, b deprecated, c standby, d deprecated"},
		"gone":                          {there(same("a", "RS256", "expired"), same("b", "RS256", "revoked"), Known{KID: "d", Alg: "PS256", State: "purged"}), here, "a refused, b refused, c standby, d refused"},
		"another key of this kid":       {there(Known{KID: "a", Alg: "RS256", State: "active", Thumbprint: "x"}), here, "a refused, b deprecated, c standby, d deprecated"},
		"generated standby":             {there(Known{KID: "s", Alg: "RS256", State: "standby", Thumbprint: "x"}), here, "a standby, b deprecated, c standby, d deprecated"},
		"imported standby":              {there(same("s", "RS256", "standby")), here, "a refused, b deprecated, c standby, d deprecated"},
		"imported standby, at once":     {there(same("s", "RS256", "standby")), with(func(o *Options) { o.As = Active }), "a active, b deprecated, c active, d deprecated"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fates(Plan(source, c.target, c.opts)); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestPlanEnds(t *testing.T) {
	known, past := public("known", "ES256"), public("past", "ES256")
	known.ExpiresAt, past.ExpiresAt = noon.Add(time.Hour), noon
	steps := Plan([]Key{known, past, public("open", "ES256")}, both, here)
	if got := fates(steps); got != "known deprecated, past left, open deprecated" {
		t.Fatal(got)
	}
	if !steps[0].Until.Equal(known.ExpiresAt) || !steps[2].Until.Equal(noon.Add(48*time.Hour)) || !strings.Contains(steps[2].Why, "2 days (--keep-for)") {
		t.Errorf("until %v and %v, %q", steps[0].Until, steps[2].Until, steps[2].Why)
	}
}

// An expiry that Keyward would refuse is the latest that it accepts.
func TestPlanEndsWithinTenYears(t *testing.T) {
	k := public("k", "ES256")
	k.ExpiresAt = noon.AddDate(50, 0, 0)
	if s := Plan([]Key{k}, both, here)[0]; s.Becomes != Deprecated || s.Until.After(noon.AddDate(10, 0, 0)) || s.Until.Before(noon.AddDate(9, 0, 0)) {
		t.Errorf("%+v", s)
	}
}

func TestPlanKIDs(t *testing.T) {
	keys := []Key{public("a\n", "ES256"), public("public:a/b", "ES256"), public("twice", "ES256"), public("twice", "ES256"), public(strings.Repeat("k", 257), "ES256")}
	var got []string
	for _, s := range Plan(keys, both, here) {
		got = append(got, s.Becomes)
	}
	if all := strings.Join(got, " "); all != "refused deprecated deprecated left refused" {
		t.Error(all)
	}
}

package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/tenant"
)

func TestSpecIsCompleted(t *testing.T) {
	given := []tenant.Policy{tenant.DefaultPolicy(jose.RS256)}
	for name, c := range map[string]struct {
		policies []tenant.Policy
		alg      jose.SignatureAlgorithm
	}{"none": {nil, jose.ES256}, "one": {given, jose.RS256}} {
		s := tenant.Spec{Slug: "acme", CustomDomain: "Keys.Example.COM", Caching: tenant.DefaultCaching, Policies: c.policies}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.Policies) != 1 || s.Policies[0].Alg != c.alg || !s.Policies[0].Default {
			t.Errorf("%s: %+v", name, s.Policies)
		}
		if s.CustomDomain != "keys.example.com" {
			t.Errorf("domain %q", s.CustomDomain)
		}
	}
	if given[0].Default {
		t.Error("Validate changed the caller's policies")
	}
}

func TestSpecFields(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		field string
		set   func(*tenant.Spec, string)
		good  []string
		bad   []string
	}{
		{
			"slug", func(s *tenant.Spec, v string) { s.Slug = v },
			[]string{"a", "0", "a-b", "a--b", long, "platform2", strings.Repeat("a", 31), strings.Repeat("g", 32)},
			[]string{
				"", "-", "-a", "a-", "A", "a_b", "a.b", "ä", long + "a", "a\n", "platform", strings.Repeat("a", 32),
				"0195a0b0-1111-7222-8333-444455556666", "0195a0b0111172228333444455556666", "0195a0b01111-72228333-444455556666",
			},
		},
		{
			"name", func(s *tenant.Spec, v string) { s.Name = v },
			[]string{"", "Acme Inc. ☃", strings.Repeat("ä", 200)},
			[]string{strings.Repeat("ä", 201), "a\x00", "\xff"},
		},
		{
			"issuer", func(s *tenant.Spec, v string) { s.Issuer = v },
			[]string{"", "https://a.example", "https://a.example/", "http://127.0.0.1:8080/t/a", "https://[::1]/x%20y"},
			[]string{
				"a.example", "//a.example", "/t/a", "ftp://a.example", "https://", "https:///x", "https://u@a.example", "https://a.example?",
				"https://a.example?x=1", "https://a.example#", "https://a.example/#f", "https://a.example/ x", "https://ä.example", "https://a.example/\n",
				"https://:443", "https://a.example/" + strings.Repeat("a", 500), "urn:a",
				"https://a.example/$(id)", "https://a.example/`id`", "https://a.example/a;id", "https://a.example/'a", `https://a.example/"><script>`, "https://a.example/{a}", "https://a.example/a|b", `https://a.example/\a`,
			},
		},
		{
			"custom_domain", func(s *tenant.Spec, v string) { s.CustomDomain = v },
			[]string{"", "keys.example.com", "KEYS.example.com", "localhost", "1.example", "xn--bcher-kva.example", "a." + long + ".b"},
			[]string{
				"keys.example.com:443", "keys.example.com.", ".com", "a..b", "-a.b", "a-.b", "a_b.c", "*.example.com", "https://a.b", "a b", "ä.b",
				"1.2.3.4", "a.0x1", "[::1]", long + "a.b", strings.Repeat("a.", 127) + "a",
			},
		},
	} {
		for i, v := range append(c.good, c.bad...) {
			s := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching}
			c.set(&s, v)
			err := s.Validate()
			var broken *tenant.FieldErrors
			switch {
			case i < len(c.good) && err != nil:
				t.Errorf("%s %q: %v", c.field, v, err)
			case i >= len(c.good) && (!errors.As(err, &broken) || len(broken.Fields) != 1 || broken.Fields[0].Field != c.field):
				t.Errorf("%s %q: %v", c.field, v, err)
			}
		}
	}
	s := tenant.Spec{Slug: "acme", Issuer: "https://a.example/", Caching: tenant.DefaultCaching}
	if err := s.Validate(); err != nil || s.Issuer != "https://a.example/" {
		t.Errorf("issuer became %q, %v", s.Issuer, err)
	}
}

func TestSpecPolicies(t *testing.T) {
	es, rs := tenant.DefaultPolicy(jose.ES256), tenant.DefaultPolicy(jose.RS256)
	def := func(p tenant.Policy) tenant.Policy { p.Default = true; return p }
	short := es
	short.PublishLead = 1
	for _, c := range []struct {
		name     string
		policies []tenant.Policy
		field    string
	}{
		{"two, one default", []tenant.Policy{es, def(rs)}, ""},
		{"two, no default", []tenant.Policy{es, rs}, "policies"},
		{"two defaults", []tenant.Policy{def(es), def(rs)}, "policies"},
		{"one algorithm twice", []tenant.Policy{def(es), es}, "policies[1].alg"},
		{"a broken one", []tenant.Policy{def(rs), short}, "policies[1].publish_lead_seconds"},
	} {
		s := tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching, Policies: c.policies}
		err := s.Validate()
		var broken *tenant.PolicyError
		if c.field == "" && err != nil || c.field != "" && (!errors.As(err, &broken) || broken.Fields[0].Field != c.field) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s := tenant.Spec{Slug: "Bad", Caching: tenant.DefaultCaching, Policies: []tenant.Policy{short}}
	var malformed *tenant.FieldErrors
	if err := s.Validate(); !errors.As(err, &malformed) {
		t.Errorf("malformed and against the rules: %v", err)
	}
}

func TestIssuer(t *testing.T) {
	own := tenant.Tenant{Slug: "acme", OwnIssuer: "https://id.acme.example/"}
	if got := own.Issuer("https://k.example"); got != "https://id.acme.example/" {
		t.Error(got)
	}
	if got := (tenant.Tenant{Slug: "acme"}).Issuer("https://k.example"); got != "https://k.example/t/acme" {
		t.Error(got)
	}
}

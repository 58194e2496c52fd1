package main

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/signin"
)

// signInAlgorithms are the accepted algorithms: all with public keys.
var signInAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jwks.Ed25519,
	jose.MLDSA44, jose.MLDSA65, jose.MLDSA87,
}

// signIn validates the settings of the identity provider. All are required
// together, except the algorithms.
func (c *checks) signIn(s settings) signin.Config {
	if s.OIDCIssuer+s.OIDCAudience+s.OIDCAlgorithms+s.OIDCRoles == "" {
		return signin.Config{}
	}
	if signin.CheckIssuer(s.OIDCIssuer) != nil {
		c.reject("KEYWARD_OIDC_ISSUER", "the issuer of an identity provider: an https URL without query and fragment (http on this machine), as in https://id.example.com")
	}
	roles, err := signin.ParseMapping(s.OIDCRoles)
	if err != nil {
		c.reject("KEYWARD_OIDC_ROLES", "rules claim=value:role with commas between, a tenant's role with its tenant, as in groups=admins:platform_admin,groups=acme-ops:tenant_admin@acme ("+err.Error()+")")
	}
	return signin.Config{
		Issuer: s.OIDCIssuer, Roles: roles,
		Audience:   c.nameList("KEYWARD_OIDC_AUDIENCE", s.OIDCAudience, "names with commas between, as in https://keys.example.com"),
		Algorithms: c.signInAlgorithms("KEYWARD_OIDC_ALGORITHMS", s.OIDCAlgorithms),
	}
}

func (c *checks) signInAlgorithms(variable, value string) (algorithms []jose.SignatureAlgorithm) {
	if value == "" {
		return nil
	}
	const accepts = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, ML-DSA-44, ML-DSA-65 or ML-DSA-87, with commas between"
	for _, name := range c.nameList(variable, value, accepts) {
		if !slices.Contains(signInAlgorithms, jose.SignatureAlgorithm(name)) {
			c.reject(variable, accepts)
		}
		algorithms = append(algorithms, jose.SignatureAlgorithm(name))
	}
	return algorithms
}

// nameList parses a comma-separated list without empty names.
func (c *checks) nameList(variable, value, accepts string) (names []string) {
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name == "" {
			c.reject(variable, accepts)
		}
		names = append(names, name)
	}
	return names
}

// maxProviderName is how many characters the button of the sign-in page has room for.
const maxProviderName = 60

// codeFlow validates the settings of people's sign-in to the web console.
func (c *checks) codeFlow(s settings) signin.CodeFlowConfig {
	f := signin.CodeFlowConfig{ClientID: s.ConsoleClientID, ClientSecret: s.ConsoleSecret, Name: s.ConsoleProvider}
	if s.ConsoleScopes != "" {
		f.Scopes = strings.Fields(s.ConsoleScopes)
	}
	switch {
	case f.ClientID != "" && s.OIDCIssuer == "":
		c.reject("KEYWARD_CONSOLE_OIDC_CLIENT_ID", "a client id, with KEYWARD_OIDC_ISSUER")
	case f.ClientID == "" && f.ClientSecret != "":
		c.reject("KEYWARD_CONSOLE_OIDC_CLIENT_SECRET", "a secret, with KEYWARD_CONSOLE_OIDC_CLIENT_ID")
	case s.ConsoleScopes != "" && len(f.Scopes) == 0:
		c.reject("KEYWARD_CONSOLE_OIDC_SCOPES", "scopes with spaces between, as in openid profile groups")
	case utf8.RuneCountInString(f.Name) > maxProviderName:
		c.reject("KEYWARD_CONSOLE_OIDC_NAME", "a name of at most 60 characters")
	}
	return f
}

// configureOIDC enables sign-in through the identity provider, if one is
// configured.
func (a *app) configureOIDC(cfg *httpapi.Config) (err error) {
	if a.cfg.signIn.Issuer == "" {
		return nil
	}
	in := a.cfg.signIn
	in.Resolve, in.Now, in.Log = a.tenants.Resolve, utcNow, a.log
	s, err := signin.New(in)
	if err != nil {
		return err
	}
	cfg.SignIn = s
	if a.cfg.codeFlow.ClientID != "" {
		cfg.Console.Provider, err = signin.NewCodeFlow(s, a.cfg.codeFlow)
	}
	return err
}

// registerWorkloads registers the counters of tokens of workloads.
func (a *app) registerWorkloads(r *prometheus.Registry) {
	for i, outcome := range []string{"accepted", "refused", "unavailable"} {
		addCounter(r, "keyward_workload_tokens_total", "Tokens of workloads, by outcome; unavailable: the issuer's keys could not be fetched, or the database not be asked.",
			prometheus.Labels{"outcome": outcome}, func() int64 {
				accepted, refused, unavailable := a.workloads.Counts()
				return [...]int64{accepted, refused, unavailable}[i]
			})
	}
}

package main

import (
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

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

// configureOIDC enables sign-in through the identity provider, if one is
// configured.
func (a *app) configureOIDC(cfg *httpapi.Config) (err error) {
	if a.cfg.signIn.Issuer == "" {
		return nil
	}
	in := a.cfg.signIn
	in.Resolve, in.Now, in.Log = a.tenants.Resolve, utcNow, a.log
	cfg.SignIn, err = signin.New(in)
	return err
}

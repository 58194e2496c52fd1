package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/tenant"
)

// DefaultAlgorithms are accepted where the operator names none: what identity
// providers use, and nothing symmetric.
var DefaultAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA, jwks.Ed25519}

const (
	skew       = 30 * time.Second // between the issuer's clock and this one
	patience   = 5 * time.Second  // for the issuer to answer
	maxIssuer  = 500              // bytes
	maxSubject = 255              // OpenID Connect Core 1.0 section 2
	maxName    = 200              // characters
)

// Config says whose tokens are accepted. Issuer, Audience, Roles and Resolve
// are required.
type Config struct {
	Issuer     string   // iss, exactly; https, or http on this machine
	Audience   []string // aud must have one of them
	Algorithms []jose.SignatureAlgorithm
	Roles      Mapping
	// Resolve finds the live tenant of a slug, tenant.ErrNotFound if there is
	// none: [tenant.Store.Resolve].
	Resolve func(ctx context.Context, slug string) (uuid.UUID, error)

	HTTPClient *http.Client     // nil: http.DefaultClient
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: none; never gets a token
}

// SignIn tells who the bearer of a token is.
type SignIn struct {
	cfg      Config
	verifier *jwks.Verifier
}

// New does not ask the issuer for anything yet: that it is away must not keep
// this service from starting. Errors say which setting is wrong.
func New(cfg Config) (*SignIn, error) {
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = DefaultAlgorithms
	}
	if err := CheckIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if len(cfg.Roles) == 0 {
		return nil, fmt.Errorf("%w: no rule would let anybody in", errMapping)
	}
	v, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: cfg.Issuer, Audience: cfg.Audience, Algorithms: cfg.Algorithms, Skew: skew, Required: []string{"sub"}, Validate: noIDToken,
		Keys: jwks.Config{HTTPClient: cfg.HTTPClient, Timeout: patience, AllowHTTP: isLocal(cfg.Issuer), Logger: cfg.Log}, Now: cfg.Now,
	})
	return &SignIn{cfg: cfg, verifier: v}, err
}

var errIssuer = errors.New("signin: not an issuer: an https URL without query and fragment, or an http one on this machine")

// CheckIssuer says whether text can be an issuer (OpenID Connect Discovery 1.0
// section 3). Without TLS only this machine's own is believed.
func CheckIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?# ") || len(text) > maxIssuer ||
		u.Scheme != "https" && !isLocal(text) {
		return errIssuer
	}
	return nil
}

// isLocal knows http addresses of this machine.
func isLocal(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// noIDToken refuses what was made to tell a client about its user and not to
// be shown to anybody else, where that can be told: ID tokens bound to another
// token (OpenID Connect Core 1.0 sections 3.1.3.6 and 3.3.2.11), and what
// Keycloak marks in a claim typ.
func noIDToken(_ context.Context, t *jwks.Token) error {
	c, err := jwks.Claims[claims](t)
	if err != nil {
		return err
	}
	kind := c.firstText("typ")
	if c["at_hash"] != nil || c["c_hash"] != nil || kind == "ID" || kind == "Refresh" {
		return jwks.ErrType
	}
	return nil
}

// Principal says whose token it was given. Errors: tenant.ErrUnauthenticated,
// whatever is wrong with it; tenant.ErrNoRole for a good one that no rule, or
// none of a tenant that exists, gives a role; tenant.ErrNoIdentityProvider
// where the keys to tell cannot be had.
func (s *SignIn) Principal(ctx context.Context, token string) (tenant.Principal, error) {
	t, err := s.verifier.Verify(ctx, token)
	if err != nil {
		return tenant.Principal{}, classifyError(ctx, err)
	}
	c, err := jwks.Claims[claims](t)
	if err != nil || !isSubject(t.Subject) {
		return tenant.Principal{}, fmt.Errorf("%w: sub or another claim is not of its form", tenant.ErrUnauthenticated)
	}
	return s.principal(ctx, t, c)
}

func (s *SignIn) principal(ctx context.Context, t *jwks.Token, c claims) (tenant.Principal, error) {
	rule, ok := s.cfg.Roles.firstMatch(c)
	if !ok {
		return tenant.Principal{}, tenant.ErrNoRole
	}
	p := tenant.Principal{
		Actor: audit.Actor{Type: audit.ActorOIDC, ID: t.Issuer + "#" + t.Subject, Name: truncateName(c.firstText("preferred_username", "email", "name", "sub"))},
		Role:  rule.Role,
	}
	if rule.Tenant == "" {
		return p, nil
	}
	id, err := s.cfg.Resolve(ctx, rule.Tenant)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Principal{}, fmt.Errorf("%w: its tenant does not exist", tenant.ErrNoRole)
	}
	if err != nil {
		return tenant.Principal{}, err
	}
	p.TenantID = &id
	return p, nil
}

// classifyError tells a token that is at fault from an issuer that is away. A kid
// that the issuer's newest set does not have is the token's fault.
func classifyError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, jwks.ErrToken), errors.Is(err, jwks.ErrSigningKeyNotFound):
		return fmt.Errorf("%w: %w", tenant.ErrUnauthenticated, err)
	}
	return fmt.Errorf("%w: %w", tenant.ErrNoIdentityProvider, err)
}

// isSubject bounds what goes into the history as somebody's id.
func isSubject(sub string) bool {
	return sub != "" && len(sub) <= maxSubject && !strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// truncateName bounds a name, which people choose themselves.
func truncateName(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return name
}

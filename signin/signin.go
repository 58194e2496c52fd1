package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/internal/loopback"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/tenant"
)

// DefaultAlgorithms are accepted if Config names none: the common ones of
// identity providers, all asymmetric.
var DefaultAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA, jwks.Ed25519}

const (
	skew          = 30 * time.Second // allowed difference of the clocks
	issuerTimeout = 5 * time.Second  // timeout of a request to the issuer
	maxIssuer     = 500              // bytes
	maxSubject    = 255              // OpenID Connect Core 1.0 section 2
	maxName       = 200              // characters
)

// Config configures a SignIn. Issuer, Audience, Roles and Resolve are required.
type Config struct {
	Issuer     string   // exact iss; https, or http on this machine
	Audience   []string // aud must contain one of these
	Algorithms []jose.SignatureAlgorithm
	Roles      Mapping
	// Resolve returns the id of a live tenant, or tenant.ErrNotFound:
	// [tenant.Store.Resolve].
	Resolve func(ctx context.Context, slug string) (uuid.UUID, error)

	HTTPClient *http.Client     // nil: http.DefaultClient
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: no log; tokens are never logged
}

// SignIn authenticates the bearers of access tokens.
type SignIn struct {
	cfg      Config
	verifier *jwks.Verifier
}

// New returns a SignIn, or an error that names the invalid setting. It sends no
// request to the issuer, so that an unavailable issuer does not prevent the
// start.
func New(cfg Config) (*SignIn, error) {
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = DefaultAlgorithms
	}
	if err := CheckIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if len(cfg.Roles) == 0 {
		return nil, fmt.Errorf("%w: there is no rule", errMapping)
	}
	v, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: cfg.Issuer, Audience: cfg.Audience, Algorithms: cfg.Algorithms, Skew: skew, Required: []string{"sub"}, Validate: noIDToken,
		Keys: jwks.Config{HTTPClient: cfg.HTTPClient, Timeout: issuerTimeout, AllowHTTP: isLocal(cfg.Issuer), Logger: cfg.Log}, Now: cfg.Now,
	})
	return &SignIn{cfg: cfg, verifier: v}, err
}

var errIssuer = errors.New("signin: not an issuer: an https URL without query and fragment, or an http one on this machine")

// CheckIssuer validates an issuer (OpenID Connect Discovery 1.0 section 3).
// Plain http is allowed on this machine only.
func CheckIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?# ") || len(text) > maxIssuer ||
		u.Scheme != "https" && !isLocal(text) {
		return errIssuer
	}
	return nil
}

// isLocal reports whether a URL is http on this machine.
func isLocal(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "http" && loopback.IsHost(u.Hostname())
}

// noIDToken rejects ID tokens, which are meant for a client only, where they
// can be recognized: bound to another token (OpenID Connect Core 1.0 sections
// 3.1.3.6 and 3.3.2.11), or marked by Keycloak in the claim typ.
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

// Principal returns the principal of an access token. Errors:
// tenant.ErrUnauthenticated for an invalid token; tenant.ErrNoRole if no rule
// matches or its tenant does not exist; tenant.ErrNoIdentityProvider if the
// issuer's keys are unavailable.
func (s *SignIn) Principal(ctx context.Context, token string) (tenant.Principal, error) {
	t, err := s.verifier.Verify(ctx, token)
	if err != nil {
		return tenant.Principal{}, classifyError(ctx, err)
	}
	c, err := jwks.Claims[claims](t)
	if err != nil || !isSubject(t.Subject) {
		return tenant.Principal{}, fmt.Errorf("%w: sub or another claim is malformed", tenant.ErrUnauthenticated)
	}
	return s.principal(ctx, t, c)
}

func (s *SignIn) principal(ctx context.Context, t *jwks.Token, c claims) (tenant.Principal, error) {
	rule, ok := s.cfg.Roles.firstMatch(c)
	if !ok {
		return tenant.Principal{}, tenant.ErrNoRole
	}
	p := tenant.Principal{
		Actor: audit.Actor{Type: audit.ActorOIDC, ID: t.Issuer + "#" + t.Subject, Name: truncateName(c.firstText("email", "preferred_username", "name", "sub"))},
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

// classifyError distinguishes an invalid token from an unavailable issuer. An
// unknown kid is the token's fault, since the verifier has fetched the newest
// set.
func classifyError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, jwks.ErrToken), errors.Is(err, jwks.ErrSigningKeyNotFound):
		return fmt.Errorf("%w: %w", tenant.ErrUnauthenticated, err)
	}
	return fmt.Errorf("%w: %w", tenant.ErrNoIdentityProvider, err)
}

// isSubject validates a subject before it becomes an actor id of the audit
// history.
func isSubject(sub string) bool {
	return sub != "" && len(sub) <= maxSubject && !strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// truncateName limits a name, which users choose themselves.
func truncateName(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return name
}

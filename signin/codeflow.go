package signin

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/tenant"
)

// DefaultScopes are requested if CodeFlowConfig names none.
var DefaultScopes = []string{"openid", "profile", "email"}

const (
	metadataAge = time.Hour // after which the provider's endpoints are read again
	maxDocument = 1 << 20   // bytes of an answer of the provider
)

// CodeFlowConfig configures a CodeFlow. ClientID is required.
type CodeFlowConfig struct {
	ClientID     string   // of the console, as registered at the provider
	ClientSecret string   // empty: a public client, which PKCE alone protects
	Scopes       []string // nil: DefaultScopes; openid is added
	Name         string   // of the provider as people know it; empty: the issuer's host
}

// CodeFlow signs people in by the authorization code flow of a SignIn's issuer (OpenID
// Connect Core 1.0 section 3.1) with PKCE (RFC 7636). It keeps the provider's endpoints
// and nothing of a sign-in.
type CodeFlow struct {
	cfg      CodeFlowConfig
	signIn   *SignIn
	idTokens *jwks.Verifier
	client   *http.Client

	mu        sync.Mutex
	endpoints *endpoints
	readAt    time.Time
}

// endpoints are the members of the provider's metadata that the flow uses (OpenID
// Connect Discovery 1.0 section 3).
type endpoints struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	NamesItself   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 section 3
}

// NewCodeFlow returns a CodeFlow of the issuer of s. It sends no request to the issuer.
func NewCodeFlow(s *SignIn, cfg CodeFlowConfig) (*CodeFlow, error) {
	if cfg.ClientID == "" {
		return nil, errors.New("signin: the code flow needs a client id")
	}
	if cfg.Scopes == nil {
		cfg.Scopes = DefaultScopes
	}
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	if u, err := url.Parse(s.cfg.Issuer); err == nil {
		cfg.Name = cmp.Or(cfg.Name, u.Host)
	}
	v, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: s.cfg.Issuer, Audience: []string{cfg.ClientID}, Algorithms: s.cfg.Algorithms, Skew: skew, Required: []string{"sub", "iat"},
		Types: []string{"", "jwt"}, Now: s.cfg.Now,
		Keys: jwks.Config{HTTPClient: s.cfg.HTTPClient, Timeout: issuerTimeout, AllowHTTP: isLocal(s.cfg.Issuer), Logger: s.cfg.Log},
	})
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: issuerTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if s.cfg.HTTPClient != nil {
		client.Transport = s.cfg.HTTPClient.Transport
	}
	return &CodeFlow{cfg: cfg, signIn: s, idTokens: v, client: &client}, nil
}

// Name returns the provider's name for people.
func (f *CodeFlow) Name() string { return f.cfg.Name }

// AuthorizeURL returns the address at which a browser signs in. challenge is the SHA-256
// of the verifier that Exchange gets, base64url. Errors: tenant.ErrNoIdentityProvider.
func (f *CodeFlow) AuthorizeURL(ctx context.Context, redirectURI, state, nonce, challenge string) (string, error) {
	e, err := f.findEndpoints(ctx)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(e.Authorization)
	if err != nil {
		return "", fmt.Errorf("%w: authorization_endpoint: %w", tenant.ErrNoIdentityProvider, err)
	}
	q := u.Query() // the endpoint may have parameters of its own (RFC 6749 section 3.1)
	for name, value := range map[string]string{
		"response_type": "code", "client_id": f.cfg.ClientID, "redirect_uri": redirectURI, "scope": strings.Join(f.cfg.Scopes, " "),
		"state": state, "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// CheckResponse refuses an authorization response of another provider, or one without
// iss of a provider that gives it (RFC 9207 section 2.4). iss is that parameter; empty if
// there is none. Errors: tenant.ErrUnauthenticated, tenant.ErrNoIdentityProvider.
func (f *CodeFlow) CheckResponse(ctx context.Context, iss string) error {
	e, err := f.findEndpoints(ctx)
	if err != nil {
		return err
	}
	if iss != e.Issuer && (iss != "" || e.NamesItself) {
		return fmt.Errorf("%w: the authorization response is not of the provider", tenant.ErrUnauthenticated)
	}
	return nil
}

// Exchange redeems an authorization code. It returns who signed in, and until when the
// provider's tokens are valid. The role is that of the access token, as on the admin API,
// if that is a JWT for Keyward; otherwise that of the ID token's claims. Errors:
// tenant.ErrUnauthenticated for a code or an ID token that is not accepted;
// tenant.ErrNoRole; tenant.ErrNoIdentityProvider.
func (f *CodeFlow) Exchange(ctx context.Context, redirectURI, code, verifier, nonce string) (tenant.Principal, time.Time, error) {
	answer, err := f.redeem(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	})
	if err != nil {
		return tenant.Principal{}, time.Time{}, err
	}
	t, err := f.idTokens.Verify(ctx, answer.IDToken)
	if err != nil {
		return tenant.Principal{}, time.Time{}, classifyError(ctx, err)
	}
	c, err := jwks.Claims[claims](t)
	if err != nil || !isSubject(t.Subject) {
		return tenant.Principal{}, time.Time{}, fmt.Errorf("%w: sub or another claim of the ID token is malformed", tenant.ErrUnauthenticated)
	}
	if err := f.checkIDToken(t, c, nonce); err != nil {
		return tenant.Principal{}, time.Time{}, err
	}
	p, err := f.principal(ctx, answer.AccessToken, t, c)
	return p, f.validUntil(answer, t), err
}

// checkIDToken binds an ID token to this browser and this client (OpenID Connect Core
// 1.0 section 3.1.3.7).
func (f *CodeFlow) checkIDToken(t *jwks.Token, c claims, nonce string) error {
	if got := c.firstText("nonce"); nonce == "" || subtle.ConstantTimeCompare([]byte(got), []byte(nonce)) != 1 {
		return fmt.Errorf("%w: the ID token belongs to another sign-in", tenant.ErrUnauthenticated)
	}
	azp := c.firstText("azp")
	if azp != "" && azp != f.cfg.ClientID || azp == "" && len(t.Audience) > 1 {
		return fmt.Errorf("%w: the ID token was issued to another client", tenant.ErrUnauthenticated)
	}
	return nil
}

func (f *CodeFlow) principal(ctx context.Context, accessToken string, t *jwks.Token, c claims) (tenant.Principal, error) {
	p, err := f.signIn.Principal(ctx, accessToken)
	switch {
	case err == nil && p.Actor.ID == t.Issuer+"#"+t.Subject:
		return p, nil
	case err == nil, errors.Is(err, tenant.ErrUnauthenticated), errors.Is(err, tenant.ErrNoRole):
		return f.signIn.principal(ctx, t, c) // the access token is opaque, or for somebody else
	}
	return tenant.Principal{}, err
}

func (f *CodeFlow) now() time.Time {
	if f.signIn.cfg.Now == nil {
		return time.Now()
	}
	return f.signIn.cfg.Now()
}

func (f *CodeFlow) validUntil(a *tokenAnswer, t *jwks.Token) time.Time {
	if n, err := a.ExpiresIn.Int64(); err == nil && n > 0 && n < 1<<31 {
		return f.now().Add(time.Duration(n) * time.Second)
	}
	return t.Expiry
}

// tokenAnswer is the answer of the token endpoint (RFC 6749 sections 5.1 and 5.2).
type tokenAnswer struct {
	AccessToken string      `json:"access_token"`
	IDToken     string      `json:"id_token"`
	ExpiresIn   json.Number `json:"expires_in"`
	Error       string      `json:"error"`
}

func (f *CodeFlow) redeem(ctx context.Context, form url.Values) (*tokenAnswer, error) {
	e, err := f.findEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	basic := f.cfg.ClientSecret != "" && (e.AuthMethods == nil || slices.Contains(e.AuthMethods, "client_secret_basic"))
	if !basic {
		form.Set("client_id", f.cfg.ClientID)
		if f.cfg.ClientSecret != "" {
			form.Set("client_secret", f.cfg.ClientSecret)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%w: token_endpoint: %w", tenant.ErrNoIdentityProvider, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if basic { // RFC 6749 section 2.3.1: both are form-encoded first
		r.SetBasicAuth(url.QueryEscape(f.cfg.ClientID), url.QueryEscape(f.cfg.ClientSecret))
	}
	var answer tokenAnswer
	status, err := f.fetch(r, &answer)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case answer.Error == "invalid_grant":
		return nil, fmt.Errorf("%w: the provider does not accept the code", tenant.ErrUnauthenticated)
	case answer.Error != "":
		return nil, fmt.Errorf("%w: the token endpoint answers %d %.100q", tenant.ErrNoIdentityProvider, status, answer.Error)
	case err != nil:
		return nil, fmt.Errorf("%w: token endpoint: %w", tenant.ErrNoIdentityProvider, err)
	case answer.IDToken == "":
		return nil, fmt.Errorf("%w: the token endpoint answers without id_token", tenant.ErrNoIdentityProvider)
	}
	return &answer, nil
}

// findEndpoints returns the provider's endpoints: those of the last hour, or older ones
// while the provider does not answer.
func (f *CodeFlow) findEndpoints(ctx context.Context) (*endpoints, error) {
	f.mu.Lock()
	known, fresh := f.endpoints, f.now().Sub(f.readAt) < metadataAge
	f.mu.Unlock()
	if known != nil && fresh {
		return known, nil
	}
	read, err := f.readEndpoints(ctx)
	if err != nil {
		if known != nil {
			return known, nil
		}
		return nil, fmt.Errorf("%w: %w", tenant.ErrNoIdentityProvider, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints, f.readAt = read, f.now()
	return read, nil
}

func (f *CodeFlow) readEndpoints(ctx context.Context) (*endpoints, error) {
	issuer := f.signIn.cfg.Issuer
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", http.NoBody)
	if err != nil {
		return nil, err
	}
	var e endpoints
	if _, err := f.fetch(r, &e); err != nil {
		return nil, err
	}
	if e.Issuer != issuer {
		return nil, fmt.Errorf("the metadata is of the issuer %.200q, not of %.200q", e.Issuer, issuer)
	}
	for _, address := range []string{e.Authorization, e.Token} {
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "https" && !(isLocal(issuer) && isLocal(address)) {
			return nil, fmt.Errorf("the metadata has no usable endpoint: %.200q", address)
		}
	}
	return &e, nil
}

// fetch sends a request and decodes the answer, also that of an error.
func (f *CodeFlow) fetch(r *http.Request, to any) (status int, err error) {
	resp, err := f.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(to)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %d", resp.StatusCode)
	}
	return resp.StatusCode, err
}

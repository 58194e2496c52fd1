package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/tenant"
)

// Provider signs people in by the authorization code flow of the operator's
// identity provider (RFC 6749 section 4.1) with PKCE (RFC 7636).
type Provider interface {
	Name() string // as people know it
	// AuthorizeURL returns where the browser signs in. challenge is the SHA-256 of
	// the verifier, base64url.
	AuthorizeURL(ctx context.Context, redirectURI, state, nonce, challenge string) (string, error)
	// CheckResponse refuses an authorization response of another provider, by its
	// parameter iss (RFC 9207). Errors: those of the API's sign-in.
	CheckResponse(ctx context.Context, iss string) error
	// Exchange redeems a code and returns who signed in, and until when their
	// access token is valid. Errors: those of the API's sign-in.
	Exchange(ctx context.Context, redirectURI, code, verifier, nonce string) (tenant.Principal, time.Time, error)
}

// signedIn is what a provider says of a sign-in; nil for an API key.
type signedIn struct{ expires time.Time }

func (s *signedIn) until() *time.Time {
	if s == nil {
		return nil
	}
	return &s.expires
}

// The browser keeps state, nonce, verifier and where to go on, for one sign-in of
// at most ten minutes. SameSite=Lax, since the provider sends the browser back.
const (
	oidcCookie  = "keyward_console_oidc"
	oidcPath    = "/console/oidc"
	oidcMinutes = 10
)

var errSignInCancelled = errors.New("console: sign-in not completed")

func (c *Console) redirectURI(r *http.Request) string { return c.origin(r) + "/console/oidc/callback" }

// origin returns where browsers reach the admin address.
func (c *Console) origin(r *http.Request) string {
	if c.cfg.URL != "" {
		return c.cfg.URL
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (c *Console) oidcCookie(r *http.Request) string {
	if c.secure(r) {
		return "__Secure-" + oidcCookie
	}
	return oidcCookie
}

func (c *Console) startOIDC(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Provider == nil {
		c.refuseSignIn(w, r, errSignInCancelled)
		return
	}
	state, nonce, verifier := rand.Text(), rand.Text(), rand.Text()+rand.Text() // 43 characters at least: RFC 7636 section 4.1
	sum := sha256.Sum256([]byte(verifier))
	to, err := c.cfg.Provider.AuthorizeURL(r.Context(), c.redirectURI(r), state, nonce, base64.RawURLEncoding.EncodeToString(sum[:]))
	if err != nil {
		c.cfg.Log.WarnContext(r.Context(), "console: identity provider not reached", "error", err)
		c.refuseSignIn(w, r, tenant.ErrNoIdentityProvider)
		return
	}
	next := base64.RawURLEncoding.EncodeToString([]byte(safeNext(r.FormValue("next"))))
	c.setCookie(w, r, c.oidcCookie(r), strings.Join([]string{state, nonce, verifier, next}, "."), oidcPath, http.SameSiteLaxMode, oidcMinutes*60)
	http.Redirect(w, r, to, http.StatusSeeOther) // #nosec G710 -- the provider's address
}

func (c *Console) finishOIDC(w http.ResponseWriter, r *http.Request) {
	next, err := c.redeem(w, r)
	if err != nil {
		c.refuseSignIn(w, r, err)
		return
	}
	// The browser is still coming from the provider, and would not send the new
	// cookie with a redirect.
	c.views().render(w, http.StatusOK, "again.html", map[string]any{"To": next})
}

func (c *Console) redeem(w http.ResponseWriter, r *http.Request) (next string, err error) {
	cookie, err := r.Cookie(c.oidcCookie(r))
	if err != nil || c.cfg.Provider == nil {
		return "", errSignInCancelled
	}
	c.setCookie(w, r, c.oidcCookie(r), "", oidcPath, http.SameSiteLaxMode, -1)
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 4 || subtle.ConstantTimeCompare([]byte(parts[0]), []byte(r.FormValue("state"))) != 1 || r.FormValue("code") == "" {
		return "", errSignInCancelled
	}
	to, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return "", errSignInCancelled
	}
	next = safeNext(string(to))
	r.Form.Set("next", next)                      // of the page that a refusal shows
	if err := c.cfg.Limit(r, false); err != nil { // each attempt is a request to the provider
		return "", err
	}
	p, until, err := c.exchange(r, parts[2], parts[1])
	if err != nil {
		c.cfg.Log.WarnContext(r.Context(), "console: sign-in by the identity provider failed", "request_id", w.Header().Get("X-Request-Id"), "error", err)
		c.cfg.Refused(r, w.Header().Get("X-Request-Id"), "", err)
		if errors.Is(err, tenant.ErrUnauthenticated) {
			err = cmp.Or(c.cfg.Limit(r, true), err)
		}
		return "", err
	}
	return next, c.start(w, r, p, &signedIn{until})
}

// exchange redeems the code of an authorization response.
func (c *Console) exchange(r *http.Request, verifier, nonce string) (tenant.Principal, time.Time, error) {
	if err := c.cfg.Provider.CheckResponse(r.Context(), r.FormValue("iss")); err != nil {
		return tenant.Principal{}, time.Time{}, err
	}
	return c.cfg.Provider.Exchange(r.Context(), c.redirectURI(r), r.FormValue("code"), verifier, nonce)
}

package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// The cookie holds the session's token. Its name says what the browser enforces:
// with __Secure- no page without TLS can set it (RFC 6265bis section 4.1.3).
const (
	cookieName       = "keyward_console"
	secureCookieName = "__Secure-keyward_console"
	cookiePath       = "/console"
)

// secure reports whether the browser speaks TLS to the console.
func (c *Console) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(c.cfg.URL, "https://")
}

func (c *Console) cookieName(r *http.Request) string {
	if c.secure(r) {
		return secureCookieName
	}
	return cookieName
}

// token returns the token of a request, "" if there is none.
func (c *Console) token(r *http.Request) string {
	cookie, err := r.Cookie(c.cookieName(r))
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (c *Console) setCookie(w http.ResponseWriter, r *http.Request, name, value string, path string, mode http.SameSite, seconds int) {
	http.SetCookie(w, &http.Cookie{ // #nosec G124 -- Secure wherever the browser uses HTTPS
		Name: name, Value: value, Path: path, MaxAge: seconds, HttpOnly: true, Secure: c.secure(r), SameSite: mode,
	})
}

// page registers a page for signed-in people.
func (c *Console) page(pattern string, show func(*visit) error) {
	c.handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		token := c.token(r)
		if token == "" && c.retriedWithCookie(w, r) {
			return
		}
		s, err := c.findSession(r, token)
		switch {
		case errors.Is(err, tenant.ErrUnauthenticated):
			c.askToSignIn(w, r, token != "")
			return
		case errors.Is(err, tenant.ErrUnavailable):
			c.renderOutage(w, r, err)
			return
		case err != nil:
			c.fail(w, r, err)
			return
		}
		if lasts := pageLimit(r); lasts > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), lasts)
			defer cancel()
			r = r.WithContext(ctx)
		}
		v := c.newVisit(w, r, s, token)
		if err := show(v); err != nil {
			v.fail(err)
		}
	})
}

// findSession returns the session of a token. A page that refreshes itself, or a stream,
// does not extend it.
func (c *Console) findSession(r *http.Request, token string) (tenant.Session, error) {
	ctx, cancel := context.WithTimeout(r.Context(), sessionTime)
	defer cancel()
	s, err := c.cfg.Sessions.FindSession(ctx, token, r.Header.Get("X-Console-Refresh") == "" && !strings.HasSuffix(r.URL.Path, "/events"))
	if ctx.Err() != nil && r.Context().Err() == nil {
		err = tenant.ErrUnavailable
	}
	return s, err
}

// pageLimit returns how long a page may take, 0 for no limit but those of the API: a change
// is not cut off, and a stream or an export lasts.
func pageLimit(r *http.Request) time.Duration {
	switch {
	case r.Method != http.MethodGet || strings.HasSuffix(r.URL.Path, "/events") || strings.HasSuffix(r.URL.Path, "/export"):
		return 0
	case r.URL.Query().Get("verify") != "":
		return verifyTime
	}
	return pageTime
}

// retriedWithCookie answers a link from another site, which a SameSite=Strict
// cookie does not come with, by a page that opens the same address from this one.
// So an address can be sent to a colleague.
func (c *Console) retriedWithCookie(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Site") != "cross-site" || r.Header.Get("Sec-Fetch-Dest") != "document" {
		return false
	}
	c.views().render(w, http.StatusOK, "again.html", map[string]any{"To": r.URL.RequestURI()})
	return true
}

// askToSignIn sends a browser to the sign-in page, which leads back. For what a
// script fetches it is only an error.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request, ended bool) {
	if r.Header.Get("X-Console-Refresh") != "" || strings.HasSuffix(r.URL.Path, "/events") {
		http.Error(w, "signed out", http.StatusUnauthorized)
		return
	}
	q := url.Values{}
	if r.Method == http.MethodGet && r.URL.Path != "/console" {
		q.Set("next", r.URL.RequestURI())
	}
	if ended {
		q.Set("ended", "1")
	}
	to := "/console/sign-in"
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// safeNext returns a path of the console to go on with after sign-in. Anything
// else, such as another site, becomes the first page.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(next, "\\\r\n\t") ||
		(u.Path != "/console" && !strings.HasPrefix(u.Path, "/console/")) || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") || // no dot segments, which browsers resolve
		strings.HasPrefix(u.Path, "/console/sign-") || strings.HasPrefix(u.Path, "/console/oidc/") {
		return "/console"
	}
	return u.RequestURI()
}

type signInPage struct {
	Next, Error string
	Ended, Out  bool
	Provider    string
	Version     string
}

func (c *Console) signInPage(r *http.Request) signInPage {
	p := signInPage{Next: safeNext(r.FormValue("next")), Ended: r.FormValue("ended") != "", Out: r.FormValue("out") != "", Version: c.cfg.Version}
	if c.cfg.Provider != nil {
		p.Provider = c.cfg.Provider.Name()
	}
	return p
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	if c.token(r) != "" {
		if _, err := c.cfg.Sessions.FindSession(r.Context(), c.token(r), false); err == nil {
			http.Redirect(w, r, safeNext(r.FormValue("next")), http.StatusSeeOther) // #nosec G710 -- safeNext keeps to the console
			return
		}
	}
	c.views().render(w, http.StatusOK, "signin.html", c.signInPage(r))
}

// signIn starts a session with an API key.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	p, err := c.cfg.Authenticate(r, strings.TrimSpace(r.PostFormValue("key")))
	if err == nil {
		err = c.start(w, r, p, nil)
	}
	if err != nil {
		c.cfg.Refused(r, w.Header().Get("X-Request-Id"), r.PostFormValue("key"), err)
		c.refuseSignIn(w, r, err)
		return
	}
	http.Redirect(w, r, safeNext(r.PostFormValue("next")), http.StatusSeeOther) // #nosec G710 -- safeNext keeps to the console
}

// refuseSignIn shows the form again and says why.
func (c *Console) refuseSignIn(w http.ResponseWriter, r *http.Request, err error) {
	page, status := c.signInPage(r), http.StatusUnauthorized
	page.Ended = false
	switch {
	case errors.Is(err, ErrLimited):
		page.Error, status = "Too many failed sign-ins from this address. Wait a minute, then try again.", http.StatusTooManyRequests
		w.Header().Set("Retry-After", "60")
	case errors.Is(err, tenant.ErrNoRole):
		page.Error, status = "You are known, but you have no role here. Ask your administrator.", http.StatusForbidden
	case errors.Is(err, errNoPages):
		page.Error, status = "This credential is for verifiers: it hears of changes of the tenant's keys (key-events of the API), and there is no page for it.", http.StatusForbidden
	case errors.Is(err, tenant.ErrUnavailable):
		page.Error, status = "The database does not answer, so nobody can sign in now. Try again in a moment.", http.StatusServiceUnavailable
	case errors.Is(err, tenant.ErrNoIdentityProvider):
		page.Error, status = "The identity provider does not answer. Try again, or sign in with an API key.", http.StatusServiceUnavailable
	case errors.Is(err, errSignInCancelled):
		page.Error = "The sign-in was not completed. Start again."
	case errors.Is(err, tenant.ErrUnauthenticated):
		page.Error = "This API key is not valid: it may be mistyped, revoked or expired."
		if strings.Contains(r.URL.Path, "/oidc/") {
			page.Error = "The identity provider's answer was not accepted. Start again."
		}
	default:
		page.Error = "This API key is not valid: enter the whole key, as in kw_…"
	}
	c.views().render(w, status, "signin.html", page)
}

// errNoPages is for credentials that no page of the console is for.
var errNoPages = errors.New("console: this role has no page")

// start makes a new session and replaces the one of this browser, if any.
func (c *Console) start(w http.ResponseWriter, r *http.Request, p tenant.Principal, s *signedIn) error {
	if !c.cfg.Allows(p.Role, "getTenant") {
		return errNoPages
	}
	by := audit.By{Actor: p.Actor, RequestID: w.Header().Get("X-Request-Id")}
	if old := c.token(r); old != "" {
		if session, err := c.cfg.Sessions.FindSession(r.Context(), old, false); err == nil {
			_ = c.cfg.Sessions.EndSession(r.Context(), audit.By{Actor: session.Actor, RequestID: by.RequestID}, session) // it ends by itself otherwise
		}
	}
	token, session, err := c.cfg.Sessions.StartSession(r.Context(), by, p, s.until())
	if err != nil {
		return err
	}
	c.setCookie(w, r, c.cookieName(r), token, cookiePath, http.SameSiteStrictMode, int(session.ExpiresAt.Sub(c.cfg.Now()).Seconds()))
	return nil
}

func signOut(v *visit) error {
	if err := v.c.cfg.Sessions.EndSession(v.r.Context(), v.by(), v.Session); err != nil {
		return err
	}
	v.c.setCookie(v.w, v.r, v.c.cookieName(v.r), "", cookiePath, http.SameSiteStrictMode, -1)
	return v.redirect("/console/sign-in?out=1")
}

func signOutEverywhere(v *visit) error {
	if _, err := v.c.cfg.Sessions.EndSessions(v.r.Context(), v.by(), v.Session.Principal); err != nil {
		return err
	}
	v.c.setCookie(v.w, v.r, v.c.cookieName(v.r), "", cookiePath, http.SameSiteStrictMode, -1)
	return v.redirect("/console/sign-in?out=1")
}

func (v *visit) by() audit.By {
	return audit.By{Actor: v.Session.Actor, RequestID: v.w.Header().Get("X-Request-Id")}
}

func showAccount(v *visit) error { return v.render("account.html", "Your session", nil) }

// caller asks the session again each time: for what lasts longer than a page.
func (c *Console) caller(token string) Caller {
	return func(ctx context.Context) (tenant.Principal, error) {
		s, err := c.cfg.Sessions.FindSession(ctx, token, false)
		return s.Principal, err
	}
}

// sameCaller is for the calls of one page, whose session has just been found.
func sameCaller(p tenant.Principal) Caller {
	return func(context.Context) (tenant.Principal, error) { return p, nil }
}

package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// visit is one request of somebody who is signed in. Templates see its exported
// methods and fields.
type visit struct {
	Session tenant.Session
	Now     time.Time
	Tenant  *client.Tenant // that the page is about; nil: none

	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	api    *client.Client
	caller Caller
	token  string // of the session
}

func (c *Console) newVisit(w http.ResponseWriter, r *http.Request, s tenant.Session, token string) *visit {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	return &visit{
		Session: s, Now: c.cfg.Now().UTC(), c: c, w: w, r: r, caller: c.caller(token), token: token,
		api: c.newAPI(r, w.Header().Get("X-Request-Id"), sameCaller(s.Principal)),
	}
}

// Can reports whether the API would let the visitor call an operation.
func (v *visit) Can(operation string) bool { return v.c.cfg.Allows(v.Session.Role, operation) }

// OfPlatform reports whether the visitor sees every tenant.
func (v *visit) OfPlatform() bool { return v.Session.Role.OfPlatform() }

// Path returns the path of the page, for links that keep to it.
func (v *visit) Path() string { return v.r.URL.Path }

// Query returns a query parameter.
func (v *visit) Query(name string) string { return v.r.URL.Query().Get(name) }

// PublicURL returns where verifiers reach the platform.
func (v *visit) PublicURL() string { return v.c.cfg.PublicURL }

// Version returns the version of the program.
func (v *visit) Version() string { return v.c.cfg.Version }

// Base returns the path of the tenant's pages, or of the platform's.
func (v *visit) Base() string {
	if v.Tenant == nil {
		return "/console/platform"
	}
	return "/console/tenants/" + v.Tenant.Slug
}

// URL returns the address of the page.
func (v *visit) URL() string { return v.r.URL.RequestURI() }

// EventsURL returns where changes that concern the page are streamed, "" if the
// visitor may not read events. The answer to a form is not what its address shows, so it
// stays as it is.
func (v *visit) EventsURL() string {
	switch {
	case v.r.Method != http.MethodGet:
		return ""
	case v.Tenant != nil && v.Can("streamTenantEvents"):
		return "/console/events?tenant=" + url.QueryEscape(v.Tenant.Slug)
	case v.Tenant == nil && v.Can("streamPlatformEvents"):
		return "/console/events"
	}
	return ""
}

// findTenant reads the tenant in the path. To somebody of another tenant it does
// not exist, as the API decides.
func (v *visit) findTenant() (err error) {
	v.Tenant, err = v.api.GetTenant(v.r.Context(), v.r.PathValue("tenant"))
	return err
}

// all makes calls at once and returns the first error.
func (v *visit) all(fetches ...fetch) error { return all(v.r.Context(), fetches...) }

// all makes calls at once and returns the first error.
func all(ctx context.Context, fetches ...fetch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(fetches))
	var wg sync.WaitGroup
	for i, f := range fetches {
		wg.Go(func() {
			if errs[i] = f(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// into is a fetch that keeps its answer, for a caller with the permission.
func into[T any](v *visit, operation string, to *T, call func(ctx context.Context) (*T, error)) fetch {
	return func(ctx context.Context) error {
		if !v.Can(operation) {
			return nil
		}
		answer, err := call(ctx)
		if err == nil && answer != nil {
			*to = *answer
		}
		return err
	}
}

// page is what every template gets.
type page struct {
	V     *visit
	Title string
	Data  any
}

func (v *visit) render(name, title string, data any) error {
	return v.renderStatus(http.StatusOK, name, title, data)
}

func (v *visit) renderStatus(status int, name, title string, data any) error {
	v.c.views().render(v.w, status, name, page{v, title, data})
	return nil
}

func (v *visit) redirect(to string) error {
	http.Redirect(v.w, v.r, to, http.StatusSeeOther) // #nosec G710 -- callers give paths of the console
	return nil
}

// home leads people to where they can begin.
func home(v *visit) error {
	if v.OfPlatform() {
		return v.redirect("/console/tenants")
	}
	return v.redirect("/console/tenants/" + v.Session.TenantID.String())
}

// At reports whether the page has a path.
func (v *visit) At(path string) bool { return v.r.URL.Path == path }

// Under reports whether the page lies below a path.
func (v *visit) Under(path string) bool {
	return v.r.URL.Path == path || strings.HasPrefix(v.r.URL.Path, path+"/")
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// ConsoleConfig configures the web console.
type ConsoleConfig struct {
	// URL is where browsers reach the admin address, as in
	// https://keys-admin.example.com; empty: whatever the request was sent to. The
	// identity provider sends people back to {URL}/console/oidc/callback.
	URL      string
	Provider console.Provider // signs people in; nil: API keys only
	// Platform returns the state of the installation; nil: that of this process is all
	// that is shown. Errors: tenant.ErrUnavailable.
	Platform func(ctx context.Context) (console.PlatformState, error)
}

// callerKey is the context key of a [console.Caller]. Only this package can set
// it, so no request from the network has one.
type callerKey struct{}

// registerConsole mounts the console. Its pages call the admin API below through
// the same routes as any other client, but for the credential, which its own
// session stands for.
func (s *server) registerConsole(e *echo.Echo) error {
	h, err := console.New(console.Config{
		API: func(w http.ResponseWriter, r *http.Request, caller console.Caller) {
			s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
		},
		Authenticate: func(r *http.Request, apiKey string) (tenant.Principal, error) {
			p, err := s.authenticateWith(r, "", apiKey) // a workload has no browser
			if limited := (*rateLimitedError)(nil); errors.As(err, &limited) {
				err = console.ErrLimited
			}
			return p, err
		},
		Limit: func(r *http.Request, failed bool) error {
			if s.limitSignIn(r, failed) > 0 {
				return console.ErrLimited
			}
			return nil
		},
		Refused: func(r *http.Request, requestID, apiKey string, err error) {
			if errors.Is(err, tenant.ErrUnauthenticated) || errors.Is(err, tenant.ErrNoRole) {
				s.denials.recordSignIn(requestID, apiKey)
			}
		},
		Sessions:     s.cfg.Tenants,
		Allows:       func(role tenant.Role, operation string) bool { return permissions[operation].allows(role) },
		TrustedUntil: trustedUntil,
		Overviews:    s.overviews,
		Waiting:      s.waitingApprovals,
		Holders:      s.cfg.Store.Holders,
		Replicas: func(ctx context.Context) (live, confirmed int) {
			r := s.confirm(ctx, time.Second)
			return r.Live, r.Confirmed
		},
		URL: s.cfg.Console.URL, Provider: s.cfg.Console.Provider, Platform: s.cfg.Console.Platform, PublicURL: s.cfg.PublicURL,
		Now: s.cfg.Now, Log: s.cfg.Log, Version: s.cfg.Version,
	})
	if err != nil {
		return err
	}
	serve := s.handle("console", echo.WrapHandler(h))
	for _, path := range []string{"/console", "/console/*"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			e.Add(method, path, serve)
		}
	}
	return nil
}

// trustedUntil is what a revocation answered, counted again for a key that was revoked
// before. Where fresh is false the longer time is shown: nobody knows of another key whose
// first token ends the trust earlier.
func trustedUntil(revokedAt time.Time, c tenant.Caching, wasActive, fresh bool) []console.Trust {
	mode := moves.StandbyTakesOver
	if fresh {
		mode = moves.FreshTakesOver
	}
	var out []console.Trust
	for _, t := range moves.TrustedUntil(revokedAt, c, mode, wasActive) {
		out = append(out, console.Trust{Class: t.Class, Examples: t.Examples, Until: t.Until, EndsAtFreshToken: t.EndsAtFreshToken, Why: t.Why})
	}
	return out
}

// overviews reads policies, published keys and adoption of tenants by the stores that
// answer listPolicies, listKeys and getKeyAdoption, for all of them at once.
func (s *server) overviews(ctx context.Context, tenants []uuid.UUID) ([]byte, error) {
	read, err := s.cfg.Store.Overviews(ctx, tenants)
	if err != nil {
		return nil, err
	}
	var standby []adoption.Key
	out := make([]tenantOverview, len(read))
	for i, o := range read {
		out[i] = tenantOverview{TenantID: o.TenantID, Keys: renderKeys(o.Published), Refused: o.Refused != nil}
		for _, p := range o.Policies {
			out[i].Policies = append(out[i].Policies, renderPolicy(p))
		}
		for _, k := range o.Published {
			if k.State == keys.Standby {
				standby = append(standby, adoption.Key{TenantID: o.TenantID, KID: k.KID, PublishedAt: k.PublishedAt})
			}
		}
	}
	adopted, err := s.cfg.Adoption.OfKeys(ctx, standby)
	if err != nil {
		return nil, err
	}
	byTenant := map[uuid.UUID][]KeyAdoption{}
	for i, a := range adopted {
		k := standby[i]
		byTenant[k.TenantID] = append(byTenant[k.TenantID], KeyAdoption{KID: k.KID, PublishedAt: k.PublishedAt, Fetchers: a.Fetchers, Adopted: a.Adopted, Share: a.Share, Stragglers: []Straggler{}})
	}
	for i := range out {
		out[i].Adoption = byTenant[out[i].TenantID]
	}
	return json.Marshal(out)
}

// tenantOverview is what the console's list says of a tenant, as the API writes it.
type tenantOverview struct {
	TenantID uuid.UUID     `json:"tenant_id"`
	Policies []Policy      `json:"policies"`
	Keys     []Key         `json:"keys"`
	Adoption []KeyAdoption `json:"adoption"`
	Refused  bool          `json:"refused"`
}

// waitingApprovals reads the approvals of all tenants that wait by the store that answers
// listApprovals, for all tenants at once.
func (s *server) waitingApprovals(ctx context.Context, limit int, cursor string) ([]byte, error) {
	waiting, next, err := s.cfg.Tenants.WaitingApprovals(ctx, limit, cursor)
	if err != nil {
		return nil, err
	}
	list := waitingList{NextCursor: next}
	for _, a := range waiting {
		list.Items = append(list.Items, waitingItem{Approval: renderApproval(a.Approval), Slug: a.Slug, Name: a.Name})
	}
	return json.Marshal(list)
}

// waitingList is what the console's page of approvals shows, as the API writes it.
type waitingList struct {
	Items      []waitingItem `json:"items"`
	NextCursor string        `json:"next_cursor"`
}

type waitingItem struct {
	Approval Approval `json:"approval"`
	Slug     string   `json:"slug"` // of the tenant
	Name     string   `json:"name"`
}

package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

// outage is the page that is shown while the database does not answer. Everything
// on it is public: readiness, and the tenant's JWK Set as it is served from memory.
type outage struct {
	Now    time.Time
	Checks map[string]client.Check
	Tenant string // of the page that was asked for
	Keys   []jwk
	Stale  string // how the set is marked
	Served bool
	Retry  string
}

// jwk is what a verifier sees of a key.
type jwk struct {
	KID string `json:"kid"`
	Alg string `json:"alg"`
	Kty string `json:"kty"`
}

// renderOutage answers 503 and lists the functions that still work.
func (c *Console) renderOutage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 6*time.Second)
	defer cancel()
	api := c.newAPI(r, w.Header().Get("X-Request-Id"), nil)
	page := outage{Now: c.cfg.Now().UTC(), Retry: r.URL.RequestURI()}
	if r.Method != http.MethodGet {
		page.Retry = "/console"
	}
	page.Checks = readiness(ctx, api).Checks
	if rest, is := strings.CutPrefix(r.URL.Path, "/console/tenants/"); is {
		page.Tenant, _, _ = strings.Cut(rest, "/")
		resp, err := api.Requests.GetJWKS(ctx, page.Tenant, nil)
		if text, err := client.Bytes(resp, err); err == nil {
			var set struct{ Keys []jwk }
			page.Served = json.Unmarshal(text, &set) == nil
			page.Keys, page.Stale = set.Keys, resp.Header.Get("Warning")
		}
	}
	w.Header().Set("Retry-After", "5")
	c.views().render(w, http.StatusServiceUnavailable, "outage.html", page)
}

// readiness asks /readyz, whose answer has the same form when something is wrong.
func readiness(ctx context.Context, api *client.Client) client.Readiness {
	var ready client.Readiness
	resp, err := api.Requests.Readyz(ctx)
	if err != nil {
		return ready
	}
	defer resp.Body.Close()
	_ = json.NewDecoder(resp.Body).Decode(&ready) // without it: no checks
	return ready
}

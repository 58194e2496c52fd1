package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

// How long people wait at most for a page while PostgreSQL hangs or is slow: for their
// session, for what the page shows, and for what is said instead of it.
const (
	sessionTime = 1500 * time.Millisecond
	pageTime    = 2 * time.Second
	outageTime  = 700 * time.Millisecond
	verifyTime  = time.Minute // of pages that are asked to read much
)

// outage is the page that is shown while the database does not answer. Everything
// on it is public: readiness, and the tenant's JWK Set as it is served from memory.
type outage struct {
	Now     time.Time
	Slow    bool // it answers, but not in time
	Change  bool // the request was to change something
	Known   bool // that it was not changed
	Checks  map[string]client.Check
	Tenant  string // of the page that was asked for
	Keys    []jwk
	CopyAge time.Duration // since the database last confirmed the set; 0: not known, or it is current
	Served  bool
	Retry   string
}

// jwk is what a verifier sees of a key.
type jwk struct {
	KID string `json:"kid"`
	Alg string `json:"alg"`
	Kty string `json:"kty"`
}

// renderOutage answers 503 and lists the functions that still work. cause is the error of
// what was asked for.
func (c *Console) renderOutage(w http.ResponseWriter, r *http.Request, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), outageTime)
	defer cancel()
	api := c.newAPI(r, w.Header().Get("X-Request-Id"), nil)
	page := outage{Now: c.cfg.Now().UTC(), Retry: r.URL.RequestURI(), Slow: errors.Is(r.Context().Err(), context.DeadlineExceeded)}
	if r.Method != http.MethodGet {
		page.Retry, page.Change = r.Header.Get("Referer"), true
		if u, err := url.Parse(page.Retry); err == nil {
			page.Retry = safeNext(u.RequestURI())
		}
		var p *client.Problem
		page.Known = !errors.As(cause, &p) || p.Outcome == client.OutcomeUnchanged
	}
	checks := make(chan map[string]client.Check, 1)
	go func() { checks <- readiness(ctx, api).Checks }() // it may take longer than people wait
	if rest, is := strings.CutPrefix(r.URL.Path, "/console/tenants/"); is {
		page.Tenant, _, _ = strings.Cut(rest, "/")
		page.readSet(ctx, api)
	}
	select {
	case page.Checks = <-checks:
	case <-ctx.Done():
	}
	w.Header().Set("Retry-After", "5")
	c.views().render(w, http.StatusServiceUnavailable, "outage.html", page)
}

// readSet reads the JWK Set that verifiers get meanwhile.
func (o *outage) readSet(ctx context.Context, api *client.Client) {
	resp, err := api.Requests.GetJWKS(ctx, o.Tenant, nil)
	text, err := client.Bytes(resp, err)
	if err != nil {
		return
	}
	var set struct{ Keys []jwk }
	o.Served = json.Unmarshal(text, &set) == nil
	age, _ := strconv.ParseInt(resp.Header.Get("Keyward-Stale"), 10, 64) // without it: current
	o.Keys, o.CopyAge = set.Keys, seconds(age)
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

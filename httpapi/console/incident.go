package console

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

// incidentPage finds the keys that an incident is about, in all tenants, and leads through
// what to do about them.
type incidentPage struct {
	Q, Alg, KID string
	When        string // keys made before it
	Reason      client.RevocationReason
	Error       string

	Tenants []affected
	Looked  int    // how many tenants were looked at for this page
	Next    string // query of the next page
	More    bool   // there are more tenants than are shown
	before  time.Time
}

// affected is a tenant that publishes keys which the incident is about.
type affected struct {
	tenantRow
	Steps  []step
	Others int  // keys beyond those of Steps
	All    bool // no published key is left out
}

// step is one thing to do about a key, in its order.
type step struct {
	client.Key
	Do      string // revoke, rotate or wait
	Why     string
	Path    string // of the page that does it, below the tenant's; "": nothing is to be done
	Command string
	Later   bool // not before a new standby has been published for the publish lead
}

// maxSteps is how many keys of a tenant are shown, and maxPageSteps how many of all tenants of
// a page: others are counted, so that a page stays small.
const (
	maxSteps     = 12
	maxPageSteps = 60
)

// maxHolders is how many tenants that publish one kid are shown.
const maxHolders = perPage

// MaxHolders returns how many tenants that publish one kid are shown.
func (incidentPage) MaxHolders() int { return maxHolders }

// Asked reports whether anything was searched for.
func (p incidentPage) Asked() bool { return p.Q+p.Alg+p.KID+p.When != "" }

// Commands returns the commands for everything that is shown, in order, those that have to
// wait behind all others.
func (p incidentPage) Commands() string {
	var now, later []string
	for _, t := range p.Tenants {
		for _, s := range t.Steps {
			switch {
			case s.Command == "":
			case s.Later:
				later = append(later, s.Command)
			default:
				now = append(now, s.Command)
			}
		}
	}
	if len(later) > 0 {
		now = append(now, "# Once the new standby keys have been published for the publish lead:")
	}
	if p.KID != "" && p.More {
		later = append(later, "# More tenants publish this key: search for it again after these.")
	}
	return strings.Join(append(now, later...), "\n")
}

// showIncident is where to begin when a key may have leaked: it finds the keys and leads
// through the steps in order.
func showIncident(v *visit) error {
	if !v.OfPlatform() {
		return v.redirect("/console/tenants/" + v.Session.TenantID.String() + "?incident=1")
	}
	p := incidentPage{
		Q: strings.TrimSpace(v.Query("q")), Alg: v.Query("alg"), KID: strings.TrimSpace(v.Query("kid")), When: v.Query("before"),
		Reason: client.RevocationReason(cmp.Or(v.Query("reason"), "compromised")),
	}
	if p.Reason != "superseded" {
		p.Reason = "compromised"
	}
	if p.When != "" {
		var err error
		if p.before, err = parseTime(p.When); err != nil {
			p.Error, p.When = wrongTime, ""
		}
	}
	if p.Asked() && p.Error == "" {
		if err := v.findAffected(&p); err != nil {
			return err
		}
	}
	return v.render("incident.html", "Incident", p)
}

// findAffected reads a page of tenants, and keeps those that publish such keys.
func (v *visit) findAffected(p *incidentPage) error {
	tenants, err := v.suspects(p)
	if err != nil {
		_, detail, shown := formErrors(err)
		if !shown {
			return err
		}
		p.Error = detail
		return nil
	}
	p.Looked = len(tenants)
	rows, err := v.judge(tenants)
	if err != nil {
		return err
	}
	room := maxPageSteps
	for _, row := range rows {
		a := p.affects(row, min(room, maxSteps))
		room -= len(a.Steps)
		if len(a.Steps)+a.Others > 0 || row.Unread || p.KID+p.Alg+p.When == "" {
			p.Tenants = append(p.Tenants, a)
		}
	}
	return nil
}

// suspects returns the tenants to look at: those that publish the kid, or a page of those
// that the text and the algorithm lead to.
func (v *visit) suspects(p *incidentPage) ([]client.Tenant, error) {
	if p.KID != "" {
		return v.holders(p)
	}
	list, err := v.api.ListTenants(v.r.Context(), &client.ListTenantsParams{
		Limit: new(perPage), Q: as[string](&p.Q), Alg: as[client.Alg](&p.Alg), Cursor: as[string](new(v.Query("cursor"))),
	})
	if err != nil {
		return nil, err
	}
	p.More = list.NextCursor != nil
	if p.More {
		next := url.Values{"reason": {string(p.Reason)}, "cursor": {*list.NextCursor}}
		for name, value := range map[string]string{"q": p.Q, "alg": p.Alg, "before": p.When} {
			if value != "" {
				next.Set(name, value)
			}
		}
		p.Next = next.Encode()
	}
	return list.Items, nil
}

// holders returns the tenants that publish a key with the kid and match the text, of
// maxHolders tenants at most. It sets More if others publish the key too.
func (v *visit) holders(p *incidentPage) ([]client.Tenant, error) {
	for _, operation := range []string{"listTenants", "listKeys"} {
		if !v.Can(operation) {
			return nil, forbidden
		}
	}
	ids, err := v.c.cfg.Holders(v.r.Context(), p.KID, maxHolders+1)
	if err != nil {
		return nil, err
	}
	if p.More = len(ids) > maxHolders; p.More {
		ids = ids[:maxHolders]
	}
	tenants, calls := make([]client.Tenant, len(ids)), make([]fetch, len(ids))
	for i, id := range ids {
		calls[i] = into(v, "getTenant", &tenants[i], func(ctx context.Context) (*client.Tenant, error) {
			t, err := v.api.GetTenant(ctx, id.String())
			if isProblem(err, client.ProblemCodeTenantNotFound) { // deleted since
				return nil, nil
			}
			return t, err
		})
	}
	if err := v.all(calls...); err != nil {
		return nil, err
	}
	text := strings.ToLower(p.Q)
	return slices.DeleteFunc(tenants, func(t client.Tenant) bool {
		return t.Slug == "" || !strings.Contains(strings.ToLower(t.Slug+"\n"+t.Name), text)
	}), nil
}

// affects returns what to do about the keys of a tenant that the incident is about, most of
// them at most.
func (p incidentPage) affects(row tenantRow, most int) affected {
	a := affected{tenantRow: row}
	var hit []client.Key
	for _, k := range row.Keys { // active, standby, deprecated
		if (p.KID == "" || k.KID == p.KID) && (p.Alg == "" || k.Alg == client.Alg(p.Alg) || slices.Contains(k.Algs, client.Alg(p.Alg))) && (p.When == "" || k.CreatedAt.Before(p.before)) {
			hit = append(hit, k)
		}
	}
	a.All = len(hit) == len(row.Keys) && len(hit) > 1
	if p.Reason == "superseded" { // what signs next is replaced before it signs
		order := []client.KeyState{client.KeyStateStandby, client.KeyStateActive, client.KeyStateDeprecated}
		slices.SortStableFunc(hit, func(a, b client.Key) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	}
	standby := map[client.Alg]bool{}
	for _, k := range hit {
		if len(a.Steps) == most {
			a.Others = len(hit) - most
			break
		}
		if k.State == client.KeyStateStandby {
			standby[k.Alg] = true
		}
		a.Steps = append(a.Steps, p.stepFor(row.Slug, k, standby[k.Alg]))
	}
	return a
}

// stepFor returns what to do about a key. A compromised one is revoked at once. One that is
// only to be replaced goes without a token that breaks.
func (p incidentPage) stepFor(slug string, k client.Key, standbyGoes bool) step {
	s := step{Key: k, Do: "revoke"}
	switch {
	case k.State == client.KeyStateStandby:
		s.Why = "It would sign next; another one is made"
	case p.Reason == "compromised" && k.State == client.KeyStateActive:
		s.Why = "A fresh key signs from then on"
	case p.Reason == "compromised":
		s.Why = "Its tokens still verify until it leaves"
	case k.State == client.KeyStateActive && standbyGoes:
		s.Do, s.Later, s.Why = "rotate", true, "Once the new standby has been published for the publish lead: then no verifier fails"
	case k.State == client.KeyStateActive:
		s.Do, s.Why = "rotate", "The standby signs from then on; tokens in use keep verifying"
	default:
		return step{Key: k, Do: "wait", Why: "Its tokens expire, then it leaves by itself"}
	}
	if s.Do == "rotate" {
		s.Path = "rotate?alg=" + url.QueryEscape(string(k.Alg))
		s.Command = "keyward key rotate --tenant " + slug + " --alg " + string(k.Alg)
		return s
	}
	q := url.Values{"kid": {k.KID}, "reason": {string(p.Reason)}}
	s.Command = "keyward key revoke --tenant " + slug + " --reason " + string(p.Reason)
	if k.State == client.KeyStateActive {
		q.Set("mode", "fresh")
		s.Command += " --mode fresh"
	}
	s.Path = "revoke?" + q.Encode()
	s.Command += " -- " + shellQuoted(k.KID)
	return s
}

// shellQuoted returns a text as one word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

package console

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

// perPage is how many tenants a page shows.
const perPage = 20

type tenantsPage struct {
	Q, Status    string
	Alg, Problem string
	Worst        []tenantRow            // with a problem, of all tenants
	More         []client.TenantProblem // that more tenants have
	Rows         []tenantRow
	Next         string // query of the next page
	Error        string
}

// Filtered reports whether not all tenants are listed.
func (p tenantsPage) Filtered() bool { return p.Q+p.Status+p.Alg+p.Problem != "" }

// mostWorst is how many tenants of each problem are listed before all others.
const mostWorst = 3

// problems are what tenants are searched for, the worst first.
var problems = []client.TenantProblem{
	client.TenantProblemNoStandby, client.TenantProblemOverdue, client.TenantProblemSuspended, client.TenantProblemVerifiersBehind, client.TenantProblemLargeSet,
	client.TenantProblemOldAlgorithm,
}

type tenantRow struct {
	client.Tenant
	overview
	Unread bool // keys and policies could not be read
}

// NextAt is the next planned rotation of any policy.
func (r tenantRow) NextLine() *line {
	var next *line
	for i, l := range r.Lines {
		if l.NextAt != nil && (next == nil || l.NextAt.Before(*next.NextAt)) {
			next = &r.Lines[i]
		}
	}
	return next
}

// listTenants shows a page of tenants. Without a filter the first page begins with those
// that have problems, of all tenants.
func listTenants(v *visit) error {
	if !v.Can("listTenants") {
		return forbidden
	}
	q := v.r.URL.Query()
	p := tenantsPage{Q: strings.TrimSpace(q.Get("q")), Status: q.Get("status"), Alg: q.Get("alg"), Problem: q.Get("problem")}
	params := client.ListTenantsParams{
		Limit: new(perPage), Q: as[string](&p.Q), Status: as[client.TenantStatus](&p.Status), Alg: as[client.Alg](&p.Alg), Problem: as[client.TenantProblem](&p.Problem),
		Cursor: as[string](new(q.Get("cursor"))),
	}
	var list client.TenantList
	var worst []client.Tenant
	calls := []fetch{into(v, "listTenants", &list, func(ctx context.Context) (*client.TenantList, error) { return v.api.ListTenants(ctx, &params) })}
	if !p.Filtered() && params.Cursor == nil {
		calls = append(calls, func(ctx context.Context) (err error) { worst, p.More, err = v.worstTenants(ctx); return err })
	}
	if err := v.all(calls...); err != nil {
		var shown bool
		if _, p.Error, shown = formErrors(err); !shown {
			return err
		}
		return v.renderStatus(http.StatusUnprocessableEntity, "tenants.html", "Tenants", p)
	}
	if list.NextCursor != nil {
		q.Set("cursor", *list.NextCursor)
		p.Next = q.Encode()
	}
	rows, err := v.judge(slices.Concat(worst, slices.DeleteFunc(list.Items, func(t client.Tenant) bool {
		return slices.ContainsFunc(worst, func(w client.Tenant) bool { return w.ID == t.ID })
	})))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if slices.ContainsFunc(worst, func(w client.Tenant) bool { return w.ID == row.ID }) {
			p.Worst = append(p.Worst, row)
		} else {
			p.Rows = append(p.Rows, row)
		}
	}
	return v.render("tenants.html", "Tenants", p)
}

// worstTenants returns a few tenants of each problem, and the problems that more have.
func (v *visit) worstTenants(ctx context.Context) (worst []client.Tenant, more []client.TenantProblem, err error) {
	lists, fetches := make([]client.TenantList, len(problems)), make([]fetch, len(problems))
	for i, problem := range problems {
		fetches[i] = into(v, "listTenants", &lists[i], func(ctx context.Context) (*client.TenantList, error) {
			return v.api.ListTenants(ctx, &client.ListTenantsParams{Problem: &problem, Limit: new(mostWorst)})
		})
	}
	err = all(ctx, fetches...)
	for i, list := range lists {
		if list.NextCursor != nil && len(list.Items) > 0 {
			more = append(more, problems[i])
		}
		for _, t := range list.Items {
			if !slices.ContainsFunc(worst, func(w client.Tenant) bool { return w.ID == t.ID }) {
				worst = append(worst, t)
			}
		}
	}
	return worst, more, err
}

// tenantFacts is what the API says about what signs for a tenant.
type tenantFacts struct {
	TenantID uuid.UUID             `json:"tenant_id"`
	Policies []client.Policy       `json:"policies"`
	Keys     []client.Key          `json:"keys"` // published
	Adoption []*client.KeyAdoption `json:"adoption"`
	Refused  bool                  `json:"refused"` // its rows are not believed, and not shown
}

// judge reads the policies and keys of tenants, all at once.
func (v *visit) judge(tenants []client.Tenant) ([]tenantRow, error) {
	facts, err := v.readFacts(tenants)
	if err != nil {
		return nil, err
	}
	rows := make([]tenantRow, len(tenants))
	for i, t := range tenants {
		f, found := facts[t.ID]
		if rows[i] = (tenantRow{Tenant: t, Unread: !found || f.Refused}); rows[i].Unread {
			continue
		}
		adopted := map[string]*client.KeyAdoption{}
		for _, a := range f.Adoption {
			if a.Fetchers > 0 {
				adopted[a.KID] = a
			}
		}
		rows[i].overview = newOverview(v.Now, t, f.Policies, f.Keys, nil, adopted, true)
	}
	slices.SortStableFunc(rows, func(a, b tenantRow) int {
		order := []string{"bad", "warn", "info", ""}
		return cmp.Compare(slices.Index(order, a.Worst()), slices.Index(order, b.Worst()))
	})
	return rows, nil
}

// readFacts returns the facts of tenants by their ids, none if the visitor may not read
// them of every tenant.
func (v *visit) readFacts(tenants []client.Tenant) (map[uuid.UUID]tenantFacts, error) {
	for _, operation := range []string{"listTenants", "listPolicies", "listKeys", "getKeyAdoption"} {
		if !v.Can(operation) {
			return nil, nil
		}
	}
	ids := make([]uuid.UUID, len(tenants))
	for i, t := range tenants {
		ids[i] = t.ID
	}
	text, err := v.c.cfg.Overviews(v.r.Context(), ids)
	if err != nil {
		return nil, err
	}
	var all []tenantFacts
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]tenantFacts, len(all))
	for _, f := range all {
		byID[f.TenantID] = f
	}
	return byID, nil
}

// form is a form that is shown again with what is wrong.
type form struct {
	Values url.Values
	Fields map[string]string // what is wrong, by field
	Error  string
	Nonce  string // makes a repeated POST the same request
	Data   any
}

// V returns the value of a field.
func (f form) V(name string) string { return f.Values.Get(name) }

func newTenant(v *visit) error {
	if !v.Can("createTenant") {
		return forbidden
	}
	values := url.Values{"alg": {"ES256"}}
	for name, value := range policyDefaults {
		values.Set(name, value)
	}
	return v.render("tenant_new.html", "New tenant", form{Values: values, Nonce: client.NewKey()})
}

var forbidden = &pageError{403, "Your role does not allow this", "Ask an administrator, or go back."}

// createTenant creates a tenant with one policy.
func createTenant(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	values := v.r.PostForm
	body := client.CreateTenantRequest{Slug: strings.TrimSpace(values.Get("slug"))}
	setText(&body.Name, values, "name")
	setText(&body.Issuer, values, "issuer")
	setText(&body.CustomDomain, values, "custom_domain")
	wrong := map[string]string{}
	policy := readPolicy(values, wrong)
	body.Policies = []client.CreatePolicyRequest{{
		Alg: client.Alg(values.Get("alg")), RotationIntervalSeconds: policy.RotationIntervalSeconds, PublishLeadSeconds: policy.PublishLeadSeconds,
		GracePeriodSeconds: policy.GracePeriodSeconds, PurgeAfterSeconds: policy.PurgeAfterSeconds, DefaultTokenTTLSeconds: policy.DefaultTokenTTLSeconds,
		MaxTokenTTLSeconds: policy.MaxTokenTTLSeconds,
	}}
	f := form{Values: values, Fields: wrong, Nonce: cmp.Or(values.Get("nonce"), client.NewKey())}
	if len(wrong) == 0 {
		t, err := v.api.CreateTenant(v.r.Context(), body, client.Once(f.Nonce))
		if err == nil {
			return v.redirect("/console/tenants/" + t.Slug + "?done=created")
		}
		var ok bool
		if f.Fields, f.Error, ok = formErrors(err); !ok {
			return err
		}
		f.Nonce = client.NewKey() // a changed form is another request
	}
	return v.renderStatus(422, "tenant_new.html", "New tenant", f)
}

func setText(to **string, values url.Values, name string) {
	if text := strings.TrimSpace(values.Get(name)); text != "" {
		*to = &text
	}
}

// showTenant is the page that answers in ten seconds.
func showTenant(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	o, err := v.readOverview()
	if err != nil {
		return err
	}
	o.Done = v.Query("done")
	return v.render("tenant.html", tenantName(v.Tenant), o)
}

func tenantName(t *client.Tenant) string { return cmp.Or(t.Name, t.Slug) }

type keysPage struct {
	Items            []client.Key
	State, Alg, When string
	Next             string
	Error            string
}

// listKeys lists all keys with their evidence.
func listKeys(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	q := v.r.URL.Query()
	p := keysPage{State: q.Get("state"), Alg: q.Get("alg"), When: q.Get("valid_at")}
	params := client.ListKeysParams{Limit: new(50)}
	if p.State != "" {
		params.State = new(client.KeyState(p.State))
	}
	if p.Alg != "" {
		params.Alg = new(client.Alg(p.Alg))
	}
	if p.When != "" {
		t, err := parseTime(p.When)
		if err != nil {
			p.Error = wrongTime
		} else {
			params.ValidAt = &t
		}
	}
	if c := q.Get("cursor"); c != "" {
		params.Cursor = &c
	}
	list, err := v.api.ListKeys(v.r.Context(), v.Tenant.Slug, &params)
	if err != nil {
		return err
	}
	p.Items = list.Items
	if list.NextCursor != nil {
		q.Set("cursor", *list.NextCursor)
		p.Next = q.Encode()
	}
	return v.render("keys.html", "Keys of "+tenantName(v.Tenant), p)
}

type keyPage struct {
	Key      client.Key
	Events   []client.AuditEvent
	Trust    []Trust
	Timeline timeline

	Adoption    *client.KeyAdoption // of a key that waits to sign, or began to lately
	MinAdoption float64             // that the policy waits for
	MaxWait     int64               // seconds
}

// showKey shows one key, its evidence and its history.
func showKey(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	kid, slug := v.Query("kid"), v.Tenant.Slug
	var p keyPage
	var (
		adoption client.KeyAdoption
		events   client.AuditEventList
		policies client.PolicyList
	)
	err := v.all(
		into(v, "getKey", &p.Key, func(ctx context.Context) (*client.Key, error) { return v.api.GetKey(ctx, slug, kid) }),
		into(v, "listPolicies", &policies, func(ctx context.Context) (*client.PolicyList, error) { return v.api.ListPolicies(ctx, slug) }),
		into(v, "getKeyAdoption", &adoption, func(ctx context.Context) (*client.KeyAdoption, error) { return v.api.GetKeyAdoption(ctx, slug, kid) }),
		into(v, "listAuditEvents", &events, func(ctx context.Context) (*client.AuditEventList, error) {
			return v.api.ListAuditEvents(ctx, slug, &client.ListAuditEventsParams{KID: &kid, Limit: new(20), Order: new(client.OrderDesc)})
		}),
	)
	if err != nil {
		return err
	}
	if !v.Can("getKey") {
		return forbidden
	}
	p.Events = events.Items
	p.Timeline = newTimeline(v.Now, nil, []client.Key{p.Key})
	for _, pol := range policies.Items {
		if pol.Alg == p.Key.Alg {
			p.Timeline = newTimeline(v.Now, []client.Policy{pol}, []client.Key{p.Key})
			p.MinAdoption, p.MaxWait = pol.MinAdoption, pol.MaxAdoptionWaitSeconds
		}
	}
	if p.Key.State == client.KeyStateStandby || p.Key.State == client.KeyStateActive {
		p.Adoption = &adoption
	}
	p.Trust = v.trustOf(p.Key)
	return v.render("key.html", "Key "+shortKID(kid), p)
}

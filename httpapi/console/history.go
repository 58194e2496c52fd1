package console

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

type historyPage struct {
	Items   []client.AuditEvent
	Values  url.Values
	Error   string
	Next    string
	Chain   *client.AuditVerification
	Actions []string
	Export  string // query of the export of what is shown
	Request string // the events of this request alone
	Open    string // the event whose details are shown
}

// V returns the value of a filter.
func (p historyPage) V(name string) string { return p.Values.Get(name) }

// filters are the query parameters that a page of events has in common with the
// API.
var filters = []string{"action", "kid", "state", "actor", "since", "until", "tenant"}

// tenantHistory lists a tenant's events, newest first.
func tenantHistory(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	p, q := newHistory(v)
	var chain client.AuditVerification
	var list client.AuditEventList
	params := client.ListAuditEventsParams{
		Action: as[client.Action](q.text("action")), KID: q.text("kid"), Actor: q.text("actor"), Since: q.time("since"), Until: q.time("until"), Cursor: q.text("cursor"),
		Limit: pageOf(v), Order: new(client.OrderDesc),
	}
	params.State = as[client.AuditStateFilter](q.text("state"))
	calls := []fetch{func(ctx context.Context) error {
		events, err := v.api.ListAuditEvents(ctx, v.Tenant.Slug, &params)
		if err == nil {
			list = *events
		}
		return err
	}}
	verify := into(v, "verifyAudit", &chain, func(ctx context.Context) (*client.AuditVerification, error) {
		return v.api.VerifyAudit(ctx, v.Tenant.Slug)
	})
	if v.Query("verify") != "" {
		p.Chain = &chain
		calls = append(calls, verify)
	}
	err := v.all(calls...)
	if err == nil && p.Chain == nil && len(p.used()) == 0 && len(list.Items) > 0 && list.Items[0].Seq <= shortChain {
		p.Chain = &chain
		err = v.all(verify)
	}
	return v.showHistory(p, q, &list, err, "History of "+tenantName(v.Tenant))
}

// shortChain is how many events are verified without being asked for: that is faster than
// a page may be.
const shortChain = 2000

// used returns the filters that are set.
func (p historyPage) used() url.Values {
	q := url.Values{}
	for _, name := range filters {
		if value := p.Values.Get(name); value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// platformHistory lists the events of all tenants.
func platformHistory(v *visit) error {
	if !v.Can("listPlatformAuditEvents") {
		return forbidden
	}
	p, q := newHistory(v)
	params := client.ListPlatformAuditEventsParams{
		Action: as[client.Action](q.text("action")), KID: q.text("kid"), Actor: q.text("actor"), Since: q.time("since"), Until: q.time("until"), Cursor: q.text("cursor"),
		Tenant: q.text("tenant"), Limit: pageOf(v), Order: new(client.OrderDesc),
	}
	params.State = as[client.AuditStateFilter](q.text("state"))
	list, err := v.api.ListPlatformAuditEvents(v.r.Context(), &params)
	return v.showHistory(p, q, list, err, "History of all tenants")
}

// requestSpan is how far the events of one request are apart at most. There is no index of
// request ids, so that the link to a request has its time.
const requestSpan = 30 * time.Second

// pageOf is how many events are read for a page: of one request, all that may be its.
func pageOf(v *visit) *int {
	if v.Query("request") != "" {
		return new(500)
	}
	return new(40)
}

func newHistory(v *visit) (historyPage, *filterQuery) {
	values := v.r.URL.Query()
	if at, err := parseTime(values.Get("at")); err == nil && values.Get("request") != "" {
		values.Set("since", at.Add(-requestSpan).Format(time.RFC3339))
		values.Set("until", at.Add(requestSpan).Format(time.RFC3339))
	}
	return historyPage{Values: values, Actions: actionNames(), Open: values.Get("event")}, &filterQuery{values: values}
}

func (v *visit) showHistory(p historyPage, q *filterQuery, list *client.AuditEventList, err error, title string) error {
	p.Error = q.wrong
	if err != nil {
		_, detail, shown := formErrors(err)
		if !shown {
			return err
		}
		p.Error, list = detail, &client.AuditEventList{}
	}
	p.Items = list.Items
	if list.NextCursor != nil {
		next := p.used()
		next.Set("cursor", *list.NextCursor)
		p.Next = next.Encode()
	}
	p.Export = p.used().Encode()
	if p.Request = p.Values.Get("request"); p.Request != "" {
		p.Items = slices.DeleteFunc(p.Items, func(e client.AuditEvent) bool { return e.RequestID == nil || *e.RequestID != p.Request })
		p.Next = ""
	}
	return v.render("history.html", title, p)
}

// filterQuery reads filters and notes what is wrong.
type filterQuery struct {
	values url.Values
	wrong  string
}

func (q *filterQuery) text(name string) *string {
	if text := strings.TrimSpace(q.values.Get(name)); text != "" {
		return &text
	}
	return nil
}

func (q *filterQuery) time(name string) *client.Since {
	text := strings.TrimSpace(q.values.Get(name))
	if text == "" {
		return nil
	}
	t, err := parseTime(text)
	if err != nil {
		q.wrong = wrongTime
		return nil
	}
	return &t
}

func actionNames() []string {
	names := make([]string, 0, len(actionWords))
	for name := range actionWords {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// as gives an optional text the type of a parameter; an empty one is none.
func as[T ~string](text *string) *T {
	if text == nil || *text == "" {
		return nil
	}
	return new(T(*text))
}

package console

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/keyward/keyward/client"
)

type historyPage struct {
	Items   []client.AuditEvent
	Values  url.Values
	Error   string
	Next    string
	Chain   *client.AuditVerification
	Actions []string
	Export  string
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
		Limit: new(40), Order: new(client.OrderDesc),
	}
	params.State = as[client.AuditStateFilter](q.text("state"))
	calls := []fetch{func(ctx context.Context) error {
		events, err := v.api.ListAuditEvents(ctx, v.Tenant.Slug, &params)
		if err == nil {
			list = *events
		}
		return err
	}}
	if v.Query("verify") != "" {
		p.Chain = &chain
		calls = append(calls, into(v, "verifyAudit", &chain, func(ctx context.Context) (*client.AuditVerification, error) {
			return v.api.VerifyAudit(ctx, v.Tenant.Slug)
		}))
	}
	return v.showHistory(p, q, &list, v.all(calls...), "History of "+tenantName(v.Tenant))
}

// platformHistory lists the events of all tenants.
func platformHistory(v *visit) error {
	if !v.Can("listPlatformAuditEvents") {
		return forbidden
	}
	p, q := newHistory(v)
	params := client.ListPlatformAuditEventsParams{
		Action: as[client.Action](q.text("action")), KID: q.text("kid"), Actor: q.text("actor"), Since: q.time("since"), Until: q.time("until"), Cursor: q.text("cursor"),
		Tenant: q.text("tenant"), Limit: new(40), Order: new(client.OrderDesc),
	}
	params.State = as[client.AuditStateFilter](q.text("state"))
	list, err := v.api.ListPlatformAuditEvents(v.r.Context(), &params)
	return v.showHistory(p, q, list, err, "History of all tenants")
}

func newHistory(v *visit) (historyPage, *filterQuery) {
	values := v.r.URL.Query()
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
		next := url.Values{"cursor": {*list.NextCursor}}
		for _, name := range filters {
			if value := p.Values.Get(name); value != "" {
				next.Set(name, value)
			}
		}
		p.Next = next.Encode()
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
		q.wrong = "Not a time: use 2026-01-31T09:00, in UTC."
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

// as gives an optional text the type of a parameter.
func as[T ~string](text *string) *T {
	if text == nil {
		return nil
	}
	return new(T(*text))
}

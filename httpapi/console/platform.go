package console

import (
	"context"
	"slices"
	"strings"

	"github.com/keyward/keyward/client"
)

type platformPage struct {
	Checks  []check
	Ready   bool
	Tenant  client.Tenant // the platform's own
	Signs   overview
	Version string
	Denied  []client.AuditEvent
}

type check struct {
	Name, Word string
	OK         bool
	Detail     string
}

var checkWords = map[string]string{
	"database": "PostgreSQL answers and can be written", "migrations": "The schema is up to date", "master_key": "The master key opens the data keys",
	"process": "This process serves requests",
}

// showPlatform shows the state of the platform as this process knows it. Processes,
// backlogs and re-wrapping get their place here once the API tells of them.
func showPlatform(v *visit) error {
	if !v.OfPlatform() {
		return forbidden
	}
	p := platformPage{Version: v.c.cfg.Version}
	ready := readiness(v.r.Context(), v.api)
	p.Ready = ready.Status == "ok"
	for name, c := range ready.Checks {
		line := check{Name: name, Word: checkWords[name], OK: c.Ok}
		if c.Detail != nil {
			line.Detail = *c.Detail
		}
		if line.Word == "" {
			line.Word = strings.ReplaceAll(name, "_", " ")
		}
		p.Checks = append(p.Checks, line)
	}
	slices.SortFunc(p.Checks, func(a, b check) int { return strings.Compare(a.Name, b.Name) })
	var denied client.AuditEventList
	err := v.all(
		into(v, "getTenant", &p.Tenant, func(ctx context.Context) (*client.Tenant, error) { return v.api.GetTenant(ctx, "platform") }),
		into(v, "listPlatformAuditEvents", &denied, func(ctx context.Context) (*client.AuditEventList, error) {
			return v.api.ListPlatformAuditEvents(ctx, &client.ListPlatformAuditEventsParams{Action: new(client.Action("authorization.denied")), Limit: new(5), Order: new(client.OrderDesc)})
		}),
	)
	if err != nil {
		return err
	}
	p.Denied = denied.Items
	own := *v
	own.Tenant = &p.Tenant
	if p.Signs, err = own.readOverview(); err != nil {
		return err
	}
	return v.render("platform.html", "Platform", p)
}

type incidentPage struct {
	Q       string
	Tenants []tenantRow
}

// showIncident is where to begin when a key may have leaked: it finds the tenant
// and leads through the steps in order.
func showIncident(v *visit) error {
	if !v.OfPlatform() {
		return v.redirect("/console/tenants/" + v.Session.TenantID.String() + "?incident=1")
	}
	p := incidentPage{Q: strings.TrimSpace(v.Query("q"))}
	if p.Q == "" {
		return v.render("incident.html", "Incident", p)
	}
	list, err := v.api.ListTenants(v.r.Context(), &client.ListTenantsParams{Q: &p.Q, Limit: new(10)})
	if err != nil {
		return err
	}
	p.Tenants = v.judge(list.Items)
	return v.render("incident.html", "Incident", p)
}

package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keyward/keyward/client"
)

// auditCmd is what can be asked of the history.
type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List events."`
	Export auditExportCmd `cmd:"" help:"Write events to a file, in NDJSON or CSV."`
	Verify auditVerifyCmd `cmd:"" help:"Check a hash chain from an export, without a server."`
}

// anyTenant is a remote for what concerns one tenant or, without --tenant, all.
type anyTenant struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Slug or id of the tenant. Default: all tenants, for the platform's roles."`
	remote
}

// auditFilter are the flags that choose events.
type auditFilter struct {
	Action string  `name:"action" placeholder:"ACTION" help:"As in key.revoked."`
	KID    string  `name:"kid" placeholder:"KID" help:"Of this key."`
	Actor  string  `name:"actor" placeholder:"ACTOR" help:"By whom: an id or a name."`
	Since  *moment `name:"since" placeholder:"TIME" help:"Not before: a time, a day, or how long ago, as in 24h."`
	Until  *moment `name:"until" placeholder:"TIME" help:"Before."`
	Order  string  `name:"order" enum:",asc,desc" default:"" placeholder:"ORDER" help:"By time: asc or desc."`
}

// events asks for a page of events, of a tenant or of all.
func (f auditFilter) events(ctx context.Context, api *client.Client, tenant string, limit *int, cursor *string, edit ...client.RequestEditorFn) (*http.Response, error) {
	params := client.ListAuditEventsParams{
		Action: given(client.AuditAction(f.Action)), KID: given(f.KID), Actor: given(f.Actor),
		Since: f.Since.time(), Until: f.Until.time(), Order: given(client.Order(f.Order)), Limit: limit, Cursor: cursor,
	}
	if tenant != "" {
		return api.Requests.ListAuditEvents(ctx, tenant, &params, edit...)
	}
	return api.Requests.ListPlatformAuditEvents(ctx, &client.ListPlatformAuditEventsParams{
		Action: params.Action, KID: params.KID, Actor: params.Actor,
		Since: params.Since, Until: params.Until, Order: params.Order, Limit: limit, Cursor: cursor,
	}, edit...)
}

type auditListCmd struct {
	auditFilter
	listing
	anyTenant
}

// Run is keyward audit list.
func (c *auditListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	return list(p, c.JSON, c.listing, rows[client.AuditEvent]{head: eventHead, row: eventRow, none: "There is no such event."},
		func(limit *int, cursor *string) (*http.Response, error) {
			return c.events(ctx, api, c.Tenant, limit, cursor)
		})
}

var eventHead = []string{"AT", "TENANT", "ACTION", "WHAT", "WHO", "REASON", "SEQ"}

func eventRow(e client.AuditEvent) []string {
	return []string{
		when(e.At), e.Tenant, string(e.Action), maybe(e.KID, text), e.Actor.Name, maybe(e.Reason, text), fmt.Sprint(e.Seq),
	}
}

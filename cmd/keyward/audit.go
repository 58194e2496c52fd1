package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// auditCmd is what can be asked of the history.
type auditCmd struct {
	List       auditListCmd       `cmd:"" help:"List events."`
	Export     auditExportCmd     `cmd:"" help:"Write events to a file, in NDJSON or CSV."`
	Verify     auditVerifyCmd     `cmd:"" help:"Check a hash chain: the server's or, without one, that of an export."`
	Checkpoint auditCheckpointCmd `cmd:"" help:"Have the end of a hash chain attested, to be kept elsewhere."`
}

// anyTenant is a remote for what concerns one tenant or, without --tenant, all.
type anyTenant struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Slug or id of the tenant. Default: all tenants, for the platform's roles."`
	remote
}

// aChain is a remote for what concerns the history of one tenant or, without
// --tenant, of the platform itself.
type aChain struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Slug or id of the tenant. Default: the platform's own history."`
	remote
}

// named is the tenant whose history is meant.
func (c aChain) named() string { return cmp.Or(c.Tenant, tenant.PlatformSlug) }

// auditFilter are the flags that choose events.
type auditFilter struct {
	Action string  `name:"action" placeholder:"ACTION" help:"As in key.revoked."`
	KID    string  `name:"kid" placeholder:"KID" help:"Of this key."`
	State  string  `name:"state" enum:",standby,active,deprecated,expired,revoked,purged,suspended" default:"" placeholder:"STATE" help:"That brought a key, or the tenant, into this state."`
	Actor  string  `name:"actor" placeholder:"ACTOR" help:"By whom: an id or a name."`
	Since  *moment `name:"since" placeholder:"TIME" help:"Not before: a time, a day, or how long ago, as in 24h."`
	Until  *moment `name:"until" placeholder:"TIME" help:"Before."`
	Order  string  `name:"order" enum:",asc,desc" default:"" placeholder:"ORDER" help:"By time: asc or desc."`
}

// events asks for events, of a tenant or of all.
func (f auditFilter) events(ctx context.Context, api *client.Client, tenant string, limit *int, cursor *string, edit ...client.RequestEditorFn) (*http.Response, error) {
	params := client.ListAuditEventsParams{
		Action: given(client.AuditAction(f.Action)), KID: given(f.KID), State: given(client.AuditState(f.State)), Actor: given(f.Actor),
		Since: f.Since.time(), Until: f.Until.time(), Order: given(client.Order(f.Order)), Limit: limit, Cursor: cursor,
	}
	if tenant == "" {
		return ofAll(ctx, api, params, nil, edit...)
	}
	resp, err := api.Requests.ListAuditEvents(ctx, tenant, &params, edit...)
	if _, is := uuid.Parse(tenant); err != nil || is != nil || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	return deletedOr(resp, func() (*http.Response, error) { return ofAll(ctx, api, params, &tenant, edit...) })
}

// ofAll asks for events of all tenants, or of one that may be deleted.
func ofAll(ctx context.Context, api *client.Client, f client.ListAuditEventsParams, tenant *string, edit ...client.RequestEditorFn) (*http.Response, error) {
	return api.Requests.ListPlatformAuditEvents(ctx, &client.ListPlatformAuditEventsParams{
		Tenant: tenant, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, Order: f.Order, Limit: f.Limit, Cursor: f.Cursor,
	}, edit...)
}

// deletedOr asks otherwise for what was not found: the history of a deleted
// tenant is there for the roles of the platform. Everybody else has the first
// answer.
func deletedOr(missing *http.Response, ask func() (*http.Response, error)) (*http.Response, error) {
	resp, err := ask()
	if err != nil || resp.StatusCode != http.StatusOK {
		if err == nil {
			resp.Body.Close()
		}
		return missing, nil
	}
	missing.Body.Close()
	return resp, nil
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

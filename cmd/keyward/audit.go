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

// auditCmd groups the commands about the audit history.
type auditCmd struct {
	List       auditListCmd       `cmd:"" help:"List audit events."`
	Export     auditExportCmd     `cmd:"" help:"Export audit events to a file, in NDJSON or CSV."`
	Verify     auditVerifyCmd     `cmd:"" help:"Verify a hash chain: the server's or, offline, that of an export."`
	Checkpoint auditCheckpointCmd `cmd:"" help:"Fetch a signed checkpoint of a hash chain, to keep elsewhere."`
}

// eventScope holds the flags of commands about one tenant or, without --tenant,
// all tenants.
type eventScope struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Select the tenant by slug or id. Default: all tenants (platform roles only)."`
	remoteFlags
}

// historyScope holds the flags of commands about the history of one tenant or,
// without --tenant, of the platform.
type historyScope struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" placeholder:"SLUG" help:"Select the tenant by slug or id. Default: the platform's own history."`
	remoteFlags
}

// tenantName returns the selected tenant.
func (c historyScope) tenantName() string { return cmp.Or(c.Tenant, tenant.PlatformSlug) }

// auditFilter holds the flags that filter events.
type auditFilter struct {
	Action string  `name:"action" placeholder:"ACTION" help:"Filter by action, as in key.revoked."`
	KID    string  `name:"kid" placeholder:"KID" help:"Filter by key."`
	State  string  `name:"state" enum:",standby,active,deprecated,expired,revoked,purged,suspended" default:"" placeholder:"STATE" help:"Filter by the state that a key or tenant entered."`
	Actor  string  `name:"actor" placeholder:"ACTOR" help:"Filter by actor, by id or name."`
	Since  *moment `name:"since" placeholder:"TIME" help:"Include only events since: a time, a day, or an age, as in 24h."`
	Until  *moment `name:"until" placeholder:"TIME" help:"Include only events before: a time, a day, or an age."`
	Order  string  `name:"order" enum:",asc,desc" default:"" placeholder:"ORDER" help:"Sort by time: asc or desc."`
}

// listEvents requests the events of one tenant or of all. If the tenant is not
// found, it tries the history of a deleted tenant.
func (f auditFilter) listEvents(ctx context.Context, api *client.Client, tenant string, limit *int, cursor *string, edit ...client.RequestEditorFn) (*http.Response, error) {
	params := client.ListAuditEventsParams{
		Action: nonEmpty(client.AuditAction(f.Action)), KID: nonEmpty(f.KID), State: nonEmpty(client.AuditState(f.State)), Actor: nonEmpty(f.Actor),
		Since: f.Since.time(), Until: f.Until.time(), Order: nonEmpty(client.Order(f.Order)), Limit: limit, Cursor: cursor,
	}
	if tenant == "" {
		return listPlatformEvents(ctx, api, params, nil, edit...)
	}
	resp, err := api.Requests.ListAuditEvents(ctx, tenant, &params, edit...)
	if _, is := uuid.Parse(tenant); err != nil || is != nil || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	return orDeletedTenant(resp, func() (*http.Response, error) { return listPlatformEvents(ctx, api, params, &tenant, edit...) })
}

// listPlatformEvents requests the events of all tenants, or of a tenant that
// may be deleted.
func listPlatformEvents(ctx context.Context, api *client.Client, f client.ListAuditEventsParams, tenant *string, edit ...client.RequestEditorFn) (*http.Response, error) {
	return api.Requests.ListPlatformAuditEvents(ctx, &client.ListPlatformAuditEventsParams{
		Tenant: tenant, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, Order: f.Order, Limit: f.Limit, Cursor: f.Cursor,
	}, edit...)
}

// orDeletedTenant calls ask, which reads the history of a deleted tenant, and
// returns its response if it succeeds, else the original one. Only platform
// roles may read such a history.
func orDeletedTenant(missing *http.Response, ask func() (*http.Response, error)) (*http.Response, error) {
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
	listFlags
	eventScope
}

// Run is keyward audit list.
func (c *auditListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	return printList(p, c.JSON, c.listFlags, rows[client.AuditEvent]{head: eventHead, row: eventRow, none: "No matching events."},
		func(limit *int, cursor *string) (*http.Response, error) {
			return c.listEvents(ctx, api, c.Tenant, limit, cursor)
		})
}

var eventHead = []string{"AT", "TENANT", "ACTION", "WHAT", "WHO", "REASON", "SEQ"}

func eventRow(e client.AuditEvent) []string {
	return []string{
		formatTime(e.At), e.Tenant, string(e.Action), optionalText(e.KID, stringOf), e.Actor.Name, optionalText(e.Reason, stringOf), fmt.Sprint(e.Seq),
	}
}

package client

import (
	"context"
	"iter"
	"net/http"
)

// Tenants iterates over all tenants, newest first. params may be nil; its limit
// is the size of a page. An error is the last thing it yields.
func (c *Client) Tenants(ctx context.Context, params *ListTenantsParams) iter.Seq2[Tenant, error] {
	p := copyParams(params)
	return iteratePages[Tenant](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListTenants(ctx, p) })
}

// Keys iterates over all keys of a tenant, newest first, as [Client.Tenants] does.
func (c *Client) Keys(ctx context.Context, tenant string, params *ListKeysParams) iter.Seq2[Key, error] {
	p := copyParams(params)
	return iteratePages[Key](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListKeys(ctx, tenant, p) })
}

// AuditEvents iterates over the history of a tenant, as [Client.Tenants] does.
func (c *Client) AuditEvents(ctx context.Context, tenant string, params *ListAuditEventsParams) iter.Seq2[AuditEvent, error] {
	p := copyParams(params)
	return iteratePages[AuditEvent](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListAuditEvents(ctx, tenant, p) })
}

// PlatformAuditEvents iterates over the history of all tenants, as
// [Client.Tenants] does.
func (c *Client) PlatformAuditEvents(ctx context.Context, params *ListPlatformAuditEventsParams) iter.Seq2[AuditEvent, error] {
	p := copyParams(params)
	return iteratePages[AuditEvent](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListPlatformAuditEvents(ctx, p) })
}

// APIKeys iterates over the credentials of a tenant, as [Client.Tenants] does.
func (c *Client) APIKeys(ctx context.Context, tenant string, params *ListTenantAPIKeysParams) iter.Seq2[APIKey, error] {
	p := copyParams(params)
	return iteratePages[APIKey](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListTenantAPIKeys(ctx, tenant, p) })
}

// PlatformAPIKeys iterates over the credentials of the platform, as
// [Client.Tenants] does.
func (c *Client) PlatformAPIKeys(ctx context.Context, params *ListPlatformAPIKeysParams) iter.Seq2[APIKey, error] {
	p := copyParams(params)
	return iteratePages[APIKey](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListPlatformAPIKeys(ctx, p) })
}

// WorkloadIdentities iterates over the workload identities of a tenant, as
// [Client.Tenants] does.
func (c *Client) WorkloadIdentities(ctx context.Context, tenant string, params *ListWorkloadIdentitiesParams) iter.Seq2[WorkloadIdentity, error] {
	p := copyParams(params)
	return iteratePages[WorkloadIdentity](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListWorkloadIdentities(ctx, tenant, p) })
}

// copyParams returns a copy of params, so that paging does not change the caller's.
func copyParams[P any](params *P) *P {
	p := new(P)
	if params != nil {
		*p = *params
	}
	return p
}

// iteratePages yields the items of page after page. fetch reads limit and cursor.
func iteratePages[T any](limit **Limit, cursor **Cursor, fetch func() (*http.Response, error)) iter.Seq2[T, error] {
	type page struct {
		Items      []T     `json:"items"`
		NextCursor *string `json:"next_cursor"`
	}
	first := *cursor
	if *limit == nil {
		*limit = new(500)
	}
	return func(yield func(T, error) bool) {
		for *cursor = first; ; {
			p, err := Decode[page](fetch())
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if *cursor = p.NextCursor; p.NextCursor == nil {
				return
			}
		}
	}
}

package client

import (
	"context"
	"iter"
	"net/http"
)

// Tenants goes through all tenants, newest first. params may be nil; its limit
// is the size of a page. An error is the last thing it yields.
func (c *Client) Tenants(ctx context.Context, params *ListTenantsParams) iter.Seq2[Tenant, error] {
	p := own(params)
	return pages[Tenant](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListTenants(ctx, p) })
}

// Keys goes through all keys of a tenant, newest first, as [Client.Tenants] does.
func (c *Client) Keys(ctx context.Context, tenant string, params *ListKeysParams) iter.Seq2[Key, error] {
	p := own(params)
	return pages[Key](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListKeys(ctx, tenant, p) })
}

// AuditEvents goes through the history of a tenant, as [Client.Tenants] does.
func (c *Client) AuditEvents(ctx context.Context, tenant string, params *ListAuditEventsParams) iter.Seq2[AuditEvent, error] {
	p := own(params)
	return pages[AuditEvent](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListAuditEvents(ctx, tenant, p) })
}

// PlatformAuditEvents goes through the history of all tenants, as
// [Client.Tenants] does.
func (c *Client) PlatformAuditEvents(ctx context.Context, params *ListPlatformAuditEventsParams) iter.Seq2[AuditEvent, error] {
	p := own(params)
	return pages[AuditEvent](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListPlatformAuditEvents(ctx, p) })
}

// APIKeys goes through the credentials of a tenant, as [Client.Tenants] does.
func (c *Client) APIKeys(ctx context.Context, tenant string, params *ListTenantAPIKeysParams) iter.Seq2[APIKey, error] {
	p := own(params)
	return pages[APIKey](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListTenantAPIKeys(ctx, tenant, p) })
}

// PlatformAPIKeys goes through the credentials of the platform, as
// [Client.Tenants] does.
func (c *Client) PlatformAPIKeys(ctx context.Context, params *ListPlatformAPIKeysParams) iter.Seq2[APIKey, error] {
	p := own(params)
	return pages[APIKey](&p.Limit, &p.Cursor, func() (*http.Response, error) { return c.Requests.ListPlatformAPIKeys(ctx, p) })
}

// own is a copy that the caller does not see change.
func own[P any](params *P) *P {
	p := new(P)
	if params != nil {
		*p = *params
	}
	return p
}

// pages yields the items of page after page. limit and cursor are where fetch
// takes them from.
func pages[T any](limit **Limit, cursor **Cursor, fetch func() (*http.Response, error)) iter.Seq2[T, error] {
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

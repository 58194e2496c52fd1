package console

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keyward/keyward/client"
)

// revokedPage is what a revocation did, as the history tells it, and what has become of it
// by now. Its address can be sent to a colleague.
type revokedPage struct {
	Key      client.Key // that the address names
	Event    client.AuditEvent
	Comment  string
	Changes  []keyChange
	More     bool // changes, more than are shown
	Revoked  int  // keys, by the same request
	Signing  []client.Key
	Trust    []Trust
	Breaks   *time.Time // until when tokens live that are refused since
	Replicas *replicas

	revokedKey // of Key
}

// revokedPath is the address of the page of a revocation.
func (v *visit) revokedPath(kid string) string {
	return v.Base() + "/revoked?kid=" + url.QueryEscape(kid)
}

// showRevoked shows the revocation of a key, and what the same request did else.
func showRevoked(v *visit) error {
	if !v.Can("listAuditEvents") || !v.Can("getKey") {
		return forbidden
	}
	if err := v.findTenant(); err != nil {
		return err
	}
	kid, slug := v.Query("kid"), v.Tenant.Slug
	var p revokedPage
	var events client.AuditEventList
	var published, revoked client.KeyList
	err := v.all(
		into(v, "getKey", &p.Key, func(ctx context.Context) (*client.Key, error) { return v.api.GetKey(ctx, slug, kid) }),
		into(v, "listAuditEvents", &events, func(ctx context.Context) (*client.AuditEventList, error) {
			return v.api.ListAuditEvents(ctx, slug, &client.ListAuditEventsParams{KID: &kid, Action: new(client.Action("key.revoked")), Limit: new(1), Order: new(client.OrderDesc)})
		}),
		into(v, "listKeys", &published, func(ctx context.Context) (*client.KeyList, error) {
			return v.api.ListKeys(ctx, slug, &client.ListKeysParams{ValidAt: &v.Now, Limit: new(shownKeys)})
		}),
		into(v, "listKeys", &revoked, func(ctx context.Context) (*client.KeyList, error) {
			return v.api.ListKeys(ctx, slug, &client.ListKeysParams{State: new(client.KeyStateRevoked), Limit: new(shownKeys)})
		}),
		func(ctx context.Context) error {
			if v.c.cfg.Replicas != nil {
				live, confirmed := v.c.cfg.Replicas(ctx)
				p.Replicas = &replicas{Live: live, Confirmed: confirmed}
			}
			return nil
		},
	)
	if err != nil {
		return err
	}
	if len(events.Items) == 0 || p.Key.RevokedAt == nil {
		return &pageError{http.StatusNotFound, "This key was not revoked", "Its page says what it does now."}
	}
	p.Event = events.Items[0]
	done, err := v.sameRequest(&p)
	if err != nil {
		return err
	}
	p.tell(v, done, slices.Concat(published.Items, revoked.Items))
	return v.render("revoked.html", "Revoked: "+tenantName(v.Tenant), p)
}

// sameRequest returns the events of keys of the request that revoked the key, in their order.
func (v *visit) sameRequest(p *revokedPage) ([]client.AuditEvent, error) {
	e := p.Event
	if e.RequestID == nil {
		return []client.AuditEvent{e}, nil
	}
	list, err := v.api.ListAuditEvents(v.r.Context(), v.Tenant.Slug, &client.ListAuditEventsParams{
		Since: &e.At, Until: new(e.At.Add(time.Second)), Limit: new(500), Order: new(client.OrderAsc),
	})
	if err != nil {
		return nil, err
	}
	p.More = list.NextCursor != nil
	return slices.DeleteFunc(list.Items, func(other client.AuditEvent) bool {
		return other.KID == nil || other.ToState == nil || other.RequestID == nil || *other.RequestID != *e.RequestID
	}), nil
}

// tell makes the page of events and of keys as they are now.
func (p *revokedPage) tell(v *visit, events []client.AuditEvent, keys []client.Key) {
	known := map[string]client.Key{p.Key.KID: p.Key}
	for _, k := range keys {
		known[k.KID] = k
	}
	var details struct{ Comment string }
	_ = json.Unmarshal(p.Event.Details, &details) // without one there is none
	p.Comment = details.Comment
	algs := map[client.Alg]bool{}
	active, fresh := false, false // an active key was revoked; a key made by the same request signs
	for _, e := range events {
		k := known[*e.KID]
		i := slices.IndexFunc(p.Changes, func(c keyChange) bool { return c.KID == *e.KID })
		if i < 0 {
			i = len(p.Changes)
			p.Changes = append(p.Changes, keyChange{KID: *e.KID, Alg: algorithmsOf(k), New: e.FromState == nil})
			if e.FromState != nil {
				p.Changes[i].Before = *e.FromState
			}
		}
		p.Changes[i].After = *e.ToState
		switch {
		case *e.ToState == string(client.KeyStateActive) && p.Changes[i].New:
			fresh = true
		case *e.ToState == string(client.KeyStateRevoked):
			p.Revoked++
			active = active || p.Changes[i].Before == string(client.KeyStateActive)
			algs[k.Alg] = true
			if until := k.LastTokenExpiresAt; until != nil && until.After(e.At) && until.After(deadline(p.Breaks)) {
				p.Breaks = until
			}
		}
	}
	for _, k := range keys {
		if k.State == client.KeyStateActive && algs[k.Alg] {
			p.Signing = append(p.Signing, k)
		}
	}
	slices.SortFunc(p.Signing, func(a, b client.Key) int { return cmp.Compare(a.Alg, b.Alg) })
	p.Trust = v.trustAfter(p.Key, active, fresh)
	p.summarize(p.Trust)
}

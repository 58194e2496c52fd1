package httpapi

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// ListAuditEvents reads a tenant's history.
func (s *server) ListAuditEvents(c echo.Context, _ TenantPath, p ListAuditEventsParams) error {
	page, err := s.cfg.Audit.List(c.Request().Context(), of(c).tenantID, p.filter())
	return replyEvents(c, page, err)
}

// ListPlatformAuditEvents reads the history of all tenants, or of one that may
// be deleted.
func (s *server) ListPlatformAuditEvents(c echo.Context, p ListPlatformAuditEventsParams) error {
	f := ListAuditEventsParams{
		Action: p.Action, KID: p.KID, Actor: p.Actor, Since: p.Since, Until: p.Until, Order: p.Order, Limit: p.Limit, Cursor: p.Cursor,
	}.filter()
	if p.Tenant != nil {
		id, err := s.anyTenant(c.Request().Context(), *p.Tenant)
		if err != nil {
			return err
		}
		f.TenantID = id
	}
	page, err := s.cfg.Audit.ListAll(c.Request().Context(), f)
	return replyEvents(c, page, err)
}

// anyTenant finds a live tenant by its slug and any by its id.
func (s *server) anyTenant(ctx context.Context, ref string) (uuid.UUID, error) {
	if id, ok := tenant.ParseID(ref); ok {
		_, err := s.cfg.Tenants.GetAny(ctx, id)
		return id, err
	}
	return s.cfg.Tenants.Resolve(ctx, ref)
}

func (p ListAuditEventsParams) filter() audit.Filter {
	return audit.Filter{
		Action: string(or(p.Action, "")), KID: or(p.KID, ""), Actor: or(p.Actor, ""),
		Since: or(p.Since, time.Time{}), Until: or(p.Until, time.Time{}), Ascending: or(p.Order, OrderDesc) == OrderAsc,
		Limit: or(p.Limit, 0), Cursor: or(p.Cursor, ""),
	}
}

func replyEvents(c echo.Context, page audit.Page, err error) error {
	if err != nil {
		return err
	}
	out := AuditEventList{Items: make([]AuditEvent, len(page.Events)), NextCursor: given(page.Next)}
	for i, e := range page.Events {
		out.Items[i] = renderEvent(e)
	}
	return reply(c, http.StatusOK, out)
}

// VerifyAudit checks a tenant's hash chain.
func (s *server) VerifyAudit(c echo.Context, _ TenantPath) error {
	r, err := s.cfg.Audit.Verify(c.Request().Context(), of(c).tenantID)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, AuditVerification{
		Intact: r.Intact, Events: r.Events, BrokenAt: r.BrokenAt,
		Head: AuditHead{Seq: r.Head.Seq, Hash: hex.EncodeToString(r.Head.Hash)},
	})
}

package httpapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// auditServer answers the operations that read audit events.
type auditServer struct {
	cfg     *Config
	gate    *gate
	streams *seats
	exports *seats
}

func newAuditServer(cfg *Config, g *gate) (s *auditServer, err error) {
	s = &auditServer{cfg: cfg, gate: g}
	if s.streams, err = newSeats(cfg.Metrics, "event stream", "keyward_event_streams", cfg.Streams.Most); err != nil {
		return nil, err
	}
	s.exports, err = newSeats(cfg.Metrics, "audit export", "keyward_audit_exports", exportsAtOnce)
	return s, err
}

// ListAuditEvents reads a tenant's history.
func (s *auditServer) ListAuditEvents(c echo.Context, _ TenantPath, p ListAuditEventsParams) error {
	f := p.filter()
	f.TenantID = of(c).tenantID
	return s.events(c, f, p.Order)
}

// ListPlatformAuditEvents reads the history of all tenants, or of one that may
// be deleted.
func (s *auditServer) ListPlatformAuditEvents(c echo.Context, p ListPlatformAuditEventsParams) error {
	f := ListAuditEventsParams{
		Action: p.Action, KID: p.KID, State: p.State, Actor: p.Actor, Since: p.Since, Until: p.Until, Order: p.Order, Limit: p.Limit, Cursor: p.Cursor,
	}.filter()
	if p.Tenant != nil {
		id, err := s.tenantID(c.Request().Context(), *p.Tenant)
		if err != nil {
			return err
		}
		f.TenantID = id
	}
	return s.events(c, f, p.Order)
}

// events answers with a page of events or, in the forms that say so, with all.
// Those are oldest first, as a chain is checked, unless the client says
// otherwise or goes on behind a page.
func (s *auditServer) events(c echo.Context, f audit.Filter, order *OrderQuery) error {
	if f.TenantID == uuid.Nil && of(c).TenantID != nil {
		return errForbidden // all tenants are for the platform's credentials
	}
	c.Response().Header()["Vary"] = varyExport
	form := negotiate(c.Request().Header["Accept"], echo.MIMEApplicationJSON, mimeNDJSON, mimeCSV)
	switch form {
	case "":
		return newProblem(ProblemCodeNotAcceptable, "")
	case echo.MIMEApplicationJSON:
		page, err := s.cfg.Audit.ListAll(c.Request().Context(), f)
		return replyEvents(c, page, err)
	}
	f.Ascending = f.Ascending || order == nil && f.Cursor == ""
	return s.export(c, form, f)
}

var varyExport = []string{"Accept, Accept-Encoding"}

// tenantID finds a live tenant by its slug and any by its id.
func (s *auditServer) tenantID(ctx context.Context, ref string) (uuid.UUID, error) {
	if id, ok := tenant.ParseID(ref); ok {
		_, err := s.cfg.Tenants.GetAny(ctx, id)
		return id, err
	}
	return s.cfg.Tenants.Resolve(ctx, ref)
}

func (p ListAuditEventsParams) filter() audit.Filter {
	return audit.Filter{
		Action: string(or(p.Action, "")), KID: or(p.KID, ""), State: string(or(p.State, "")), Actor: or(p.Actor, ""),
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

// VerifyAudit checks a tenant's hash chain. That may take longer than the
// server's limit for an answer: one who does not wait for it ends it by leaving.
func (s *auditServer) VerifyAudit(c echo.Context, _ TenantPath) error {
	deadlines := http.NewResponseController(c.Response())
	_ = deadlines.SetWriteDeadline(time.Time{}) // an error: there is no limit
	r, err := s.cfg.Audit.Verify(c.Request().Context(), of(c).tenantID)
	_ = deadlines.SetWriteDeadline(time.Now().Add(exportPatience))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, AuditVerification{
		Intact: r.Intact, Events: r.Events, BrokenAt: r.BrokenAt,
		Head: AuditHead{Seq: r.Head.Seq, Hash: hex.EncodeToString(r.Head.Hash)},
	})
}

// GetAuditCheckpoint attests the end of a tenant's hash chain.
func (s *auditServer) GetAuditCheckpoint(c echo.Context, _ TenantPath) error {
	head, err := s.cfg.Audit.Head(c.Request().Context(), of(c).tenantID)
	if err != nil {
		return err
	}
	signed, err := s.cfg.Signer.Checkpoint(c.Request().Context(), head)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, AuditCheckpoint{Checkpoint: signed.JWS})
}

// RenderEvent is an audit event as this API shows it, for others who tell of
// events.
func RenderEvent(e audit.Event) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(renderEvent(e))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func renderEvent(e audit.Event) AuditEvent {
	return AuditEvent{
		Seq: e.Seq, At: e.At, Tenant: e.Tenant, TenantID: e.TenantID, Action: AuditAction(e.Action),
		Actor: Actor{Type: ActorType(e.Actor.Type), ID: e.Actor.ID, Name: e.Actor.Name},
		KID:   given(e.KID), FromState: given(e.FromState), ToState: given(e.ToState), Reason: given(e.Reason),
		RequestID: given(e.RequestID), Details: JSONObject(e.Details),
		Hash: hex.EncodeToString(e.Hash), PrevHash: hex.EncodeToString(e.PrevHash),
	}
}

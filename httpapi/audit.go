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
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// auditServer answers the operations that read audit events.
type auditServer struct {
	cfg     *Config
	gate    *gate
	streams *slotPool
	keys    *keyFeeds
	exports *slotPool
}

func newAuditServer(cfg *Config, g *gate) (s *auditServer, err error) {
	s = &auditServer{cfg: cfg, gate: g}
	if s.streams, err = newSlotPool(cfg.Metrics, "event stream", "keyward_event_streams", cfg.Streams.Most, cfg.Streams.Share); err != nil {
		return nil, err
	}
	if s.keys, err = newKeyFeeds(cfg); err != nil {
		return nil, err
	}
	s.exports, err = newSlotPool(cfg.Metrics, "audit export", "keyward_audit_exports", cfg.Streams.Exports, cfg.Streams.Share)
	return s, err
}

// ListAuditEvents lists a tenant's audit events.
func (s *auditServer) ListAuditEvents(c echo.Context, _ TenantPath, p ListAuditEventsParams) error {
	f := p.filter()
	f.TenantID = callOf(c).tenantID
	return s.replyEvents(c, f, p.Order)
}

// ListPlatformAuditEvents lists the audit events of all tenants, or of one
// tenant, live or deleted.
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
	return s.replyEvents(c, f, p.Order)
}

// replyEvents answers with a page of events as JSON, or with all of them as
// NDJSON or CSV. An export is in ascending order, in which a hash chain is
// verified, unless the request sets an order or continues a page.
func (s *auditServer) replyEvents(c echo.Context, f audit.Filter, order *OrderQuery) error {
	if f.TenantID == uuid.Nil && callOf(c).TenantID != nil {
		return errForbidden // all tenants are for the platform's credentials
	}
	c.Response().Header()["Vary"] = varyExport
	form := chooseType(c.Request().Header["Accept"], echo.MIMEApplicationJSON, mimeNDJSON, mimeCSV)
	switch form {
	case "":
		return newProblem(ProblemCodeNotAcceptable, "")
	case echo.MIMEApplicationJSON:
		page, err := s.cfg.Audit.ListAll(c.Request().Context(), f)
		return replyEventPage(c, page, err)
	}
	f.Ascending = f.Ascending || order == nil && f.Cursor == ""
	return s.serveExport(c, form, f)
}

var varyExport = []string{"Accept, Accept-Encoding"}

// tenantID resolves the slug of a live tenant, or the id of any tenant.
func (s *auditServer) tenantID(ctx context.Context, ref string) (uuid.UUID, error) {
	if id, ok := tenant.ParseID(ref); ok {
		_, err := s.cfg.Tenants.GetAny(ctx, id)
		return id, err
	}
	return s.cfg.Tenants.Resolve(ctx, ref)
}

func (p ListAuditEventsParams) filter() audit.Filter {
	return audit.Filter{
		Action: string(valueOr(p.Action, "")), KID: valueOr(p.KID, ""), State: string(valueOr(p.State, "")), Actor: valueOr(p.Actor, ""),
		Since: valueOr(p.Since, time.Time{}), Until: valueOr(p.Until, time.Time{}), Ascending: valueOr(p.Order, OrderDesc) == OrderAsc,
		Limit: valueOr(p.Limit, 0), Cursor: valueOr(p.Cursor, ""),
	}
}

func replyEventPage(c echo.Context, page audit.Page, err error) error {
	if err != nil {
		return err
	}
	out := AuditEventList{Items: make([]AuditEvent, len(page.Events)), NextCursor: nonZero(page.Next)}
	for i, e := range page.Events {
		out.Items[i] = renderEvent(e)
	}
	return replyJSON(c, http.StatusOK, out)
}

// VerifyAudit verifies a tenant's hash chain. Verification may exceed the
// server's write timeout, so the deadline is lifted; a client that disconnects
// cancels it.
func (s *auditServer) VerifyAudit(c echo.Context, _ TenantPath) error {
	deadlines := http.NewResponseController(c.Response())
	_ = deadlines.SetWriteDeadline(time.Time{}) // an error: there is no limit
	r, err := s.cfg.Audit.Verify(callOf(c).open, callOf(c).tenantID)
	_ = deadlines.SetWriteDeadline(time.Now().Add(exportPatience))
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, AuditVerification{
		Intact: r.Intact, Events: r.Events, BrokenAt: r.BrokenAt,
		Head: AuditHead{Seq: r.Head.Seq, Hash: hex.EncodeToString(r.Head.Hash)},
	})
}

// GetAuditCheckpoint signs a checkpoint of the head of a tenant's hash chain.
func (s *auditServer) GetAuditCheckpoint(c echo.Context, _ TenantPath) error {
	head, err := s.cfg.Audit.Head(c.Request().Context(), callOf(c).tenantID)
	if err != nil {
		return err
	}
	signed, err := s.cfg.Signer.Checkpoint(c.Request().Context(), head)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, AuditCheckpoint{Checkpoint: signed.JWS})
}

// GetPlatformCheckpoint signs a checkpoint of the heads of all chains, as JSON with an
// optional proof of inclusion or, with every leaf, as NDJSON. Reading all tenants counts
// as an export.
func (s *auditServer) GetPlatformCheckpoint(c echo.Context, p GetPlatformCheckpointParams) error {
	c.Response().Header()["Vary"] = varyExport
	form := chooseType(c.Request().Header["Accept"], echo.MIMEApplicationJSON, mimeNDJSON)
	if form == "" {
		return newProblem(ProblemCodeNotAcceptable, "")
	}
	var tenantID uuid.UUID
	if p.Tenant != nil {
		id, err := s.tenantID(c.Request().Context(), *p.Tenant)
		if err != nil {
			return err
		}
		tenantID = id
	}
	leave, err := s.exports.takeSlot(callOf(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	if form == mimeNDJSON {
		x := newExport(c, form)
		x.name = "checkpoint"
		return s.completeExport(c, x, func() error { return s.writeCheckpoint(callOf(c).open, x) })
	}
	signed, err := s.cfg.Signer.CheckpointPlatform(c.Request().Context(), s.cfg.Audit, tenantID, nil)
	if err != nil {
		return err
	}
	out := PlatformCheckpoint{Checkpoint: signed.JWS}
	if i := signed.Inclusion; i != nil {
		out.Inclusion = &CheckpointInclusion{TenantID: i.TenantID, Tenant: i.Tenant, Seq: i.Seq, Hash: i.Hash, Index: i.Index, Path: i.Path}
	}
	return replyJSON(c, http.StatusOK, out)
}

// writeCheckpoint writes every leaf of a checkpoint and then the checkpoint, each in a
// line.
func (s *auditServer) writeCheckpoint(ctx context.Context, x *export) error {
	lines := json.NewEncoder(x.buffer)
	signed, err := s.cfg.Signer.CheckpointPlatform(ctx, s.cfg.Audit, uuid.Nil, func(l signing.CheckpointLeaf) error { return lines.Encode(l) })
	if err != nil {
		return err
	}
	return lines.Encode(PlatformCheckpoint{Checkpoint: signed.JWS})
}

// RenderEvent returns an audit event as JSON in the form of this API, for use
// by webhooks.
func RenderEvent(e audit.Event) (json.RawMessage, error) {
	body, err := encodeJSON(renderEvent(e))
	return bytes.TrimSuffix(body, []byte("\n")), err
}

func renderEvent(e audit.Event) AuditEvent {
	return AuditEvent{
		Seq: e.Seq, At: e.At, Tenant: e.Tenant, TenantID: e.TenantID, Action: AuditAction(e.Action),
		Actor: Actor{Type: ActorType(e.Actor.Type), ID: e.Actor.ID, Name: e.Actor.Name},
		KID:   nonZero(e.KID), FromState: nonZero(e.FromState), ToState: nonZero(e.ToState), Reason: nonZero(e.Reason),
		RequestID: nonZero(e.RequestID), Details: JSONObject(e.Details),
		Hash: hex.EncodeToString(e.Hash), PrevHash: hex.EncodeToString(e.PrevHash),
	}
}

package httpapi

import (
	"crypto/sha256"
	"hash"
	"io"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// requestReader passes a body on and keeps a digest of the request: method,
// path, query and body. The body itself is not kept.
type requestReader struct {
	io.ReadCloser
	sum   hash.Hash
	needs tenant.Operation
}

func digesting(r *http.Request, needs tenant.Operation) *requestReader {
	d := &requestReader{ReadCloser: r.Body, sum: sha256.New(), needs: needs}
	d.sum.Write([]byte("keyward approval v1\x00" + r.Method + " " + r.URL.RequestURI() + "\x00"))
	r.Body = d
	return d
}

func (d *requestReader) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.sum.Write(p[:n])
	return n, err
}

// digest reads what nobody has read yet.
func (d *requestReader) digest() ([]byte, error) {
	if _, err := io.Copy(io.Discard, d); err != nil {
		return nil, bodyError(err)
	}
	return d.sum.Sum(nil), nil
}

// agreed says whether the operation may go on: its tenant asks for nobody else,
// or the request brings an approval, which is used up by that. If not, the
// request is answered with 202 or the error.
func (s *adminServer) agreed(c echo.Context, approval *KeywardApproval) (bool, error) {
	t, err := s.cfg.Tenants.GetAny(c.Request().Context(), of(c).tenantID)
	if err != nil || !t.Guards(of(c).request.needs) {
		return err == nil, err
	}
	return s.second(c, approval)
}

// agreedToRelax is agreed for a new list, which goes on at once unless it takes
// something off the old one. The store looks again, under the tenant's lock.
func (s *adminServer) agreedToRelax(c echo.Context, change tenant.Change, approval *KeywardApproval) (bool, error) {
	relaxes, err := s.cfg.Tenants.Relaxes(c.Request().Context(), of(c).tenantID, change)
	if err != nil || !relaxes {
		return err == nil, err
	}
	return s.second(c, approval)
}

func (s *adminServer) second(c echo.Context, approval *KeywardApproval) (bool, error) {
	w, ctx := of(c), c.Request().Context()
	digest, err := w.request.digest()
	if err != nil {
		return false, err
	}
	if approval == nil {
		a, err := s.cfg.Tenants.RequestApproval(ctx, w.by(), w.tenantID, w.request.needs, digest)
		if err != nil {
			return false, err
		}
		c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+w.slug+"/approvals/"+a.ID.String())
		return false, reply(c, http.StatusAccepted, renderApproval(a))
	}
	a, err := s.cfg.Tenants.UseApproval(ctx, w.by(), w.tenantID, *approval, w.request.needs, digest)
	if err != nil {
		return false, err
	}
	w.approval = &audit.Approval{ID: a.ID, By: *a.DecidedBy}
	return true, nil
}

// ListApprovals lists a tenant's approvals.
func (s *adminServer) ListApprovals(c echo.Context, _ TenantPath, p ListApprovalsParams) error {
	all, next, err := s.cfg.Tenants.Approvals(c.Request().Context(), of(c).tenantID,
		tenant.ApprovalStatus(or(p.Status, "")), or(p.Limit, 0), or(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := ApprovalList{Items: make([]Approval, len(all)), NextCursor: given(next)}
	for i, a := range all {
		out.Items[i] = renderApproval(a)
	}
	return reply(c, http.StatusOK, out)
}

// GetApproval reads an approval.
func (s *adminServer) GetApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	a, err := s.cfg.Tenants.Approval(c.Request().Context(), of(c).tenantID, id)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, renderApproval(a))
}

// ApproveApproval agrees to what somebody else asked to do.
func (s *adminServer) ApproveApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	return s.decide(c, id, true)
}

// RejectApproval refuses it.
func (s *adminServer) RejectApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	return s.decide(c, id, false)
}

func (s *adminServer) decide(c echo.Context, id uuid.UUID, yes bool) error {
	w := of(c)
	a, err := s.cfg.Tenants.DecideApproval(c.Request().Context(), w.by(), w.tenantID, id, yes, w.mayDo)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, renderApproval(a))
}

// mayDo refuses the agreement of somebody whose role could not do it.
func (w *call) mayDo(op tenant.Operation) error {
	for _, a := range permissions {
		if a.needs == op && a.allows(w.Role) {
			return nil
		}
	}
	return errForbidden
}

func renderApproval(a tenant.Approval) Approval {
	out := Approval{
		ID: a.ID, Operation: ApprovalOperation(a.Operation), Status: ApprovalStatus(a.Status), RequestedBy: renderActor(a.RequestedBy),
		CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, DecidedAt: a.DecidedAt, UsedAt: a.UsedAt,
	}
	if a.DecidedBy != nil {
		out.DecidedBy = ptr(renderActor(*a.DecidedBy))
	}
	return out
}

func renderActor(a audit.Actor) Actor {
	return Actor{Type: ActorType(a.Type), ID: a.ID, Name: a.Name}
}

func guardedOperations(list []GuardedOperation) (out []tenant.Operation) {
	for _, op := range list {
		out = append(out, tenant.Operation(op))
	}
	return out
}

func renderGuarded(list []tenant.Operation) (out []GuardedOperation) {
	for _, op := range list {
		out = append(out, GuardedOperation(op))
	}
	return out
}

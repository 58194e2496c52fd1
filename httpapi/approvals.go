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

// digestReader passes a body on and computes a digest of the request: method,
// path, query and body. It does not keep the body.
type digestReader struct {
	io.ReadCloser
	sum   hash.Hash
	needs tenant.Operation
}

// digestRequest replaces the body of a request by a digestReader.
func digestRequest(r *http.Request, needs tenant.Operation) *digestReader {
	d := &digestReader{ReadCloser: r.Body, sum: sha256.New(), needs: needs}
	d.sum.Write([]byte("keyward approval v1\x00" + r.Method + " " + r.URL.RequestURI() + "\x00"))
	r.Body = d
	return d
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.sum.Write(p[:n])
	return n, err
}

// digest reads the rest of the body and returns the SHA-256 of the request.
func (d *digestReader) digest() ([]byte, error) {
	if _, err := io.Copy(io.Discard, d); err != nil {
		return nil, bodyError(err)
	}
	return d.sum.Sum(nil), nil
}

// checkApproval reports whether the operation may proceed: either the tenant
// requires no approval for it, or the request names an approval, which is then
// used up. Otherwise it answers 202 with a new approval, or returns an error.
func (s *adminServer) checkApproval(c echo.Context, approval *KeywardApproval) (bool, error) {
	t, err := s.cfg.Tenants.GetAny(c.Request().Context(), callOf(c).tenantID)
	if err != nil || !t.Guards(callOf(c).request.needs) {
		return err == nil, err
	}
	return s.useApproval(c, approval)
}

// checkRelaxation is checkApproval for a new approval_required list, which
// needs an approval only if it removes an entry of the old one. The store
// checks again under the tenant's lock.
func (s *adminServer) checkRelaxation(c echo.Context, change tenant.Change, approval *KeywardApproval) (bool, error) {
	relaxes, err := s.cfg.Tenants.Relaxes(c.Request().Context(), callOf(c).tenantID, change)
	if err != nil || !relaxes {
		return err == nil, err
	}
	return s.useApproval(c, approval)
}

// useApproval uses up the approval that the request names, or answers 202 with
// a new one.
func (s *adminServer) useApproval(c echo.Context, approval *KeywardApproval) (bool, error) {
	w, ctx := callOf(c), c.Request().Context()
	if w.approval != nil { // a repetition of the transaction that follows
		return true, nil
	}
	digest, err := w.request.digest()
	if err != nil {
		return false, err
	}
	if approval == nil {
		a, err := s.cfg.Tenants.RequestApproval(ctx, w.auditBy(), w.tenantID, w.request.needs, digest)
		if err != nil {
			return false, err
		}
		c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+w.slug+"/approvals/"+a.ID.String())
		return false, replyJSON(c, http.StatusAccepted, renderApproval(a))
	}
	a, err := s.cfg.Tenants.UseApproval(ctx, w.auditBy(), w.tenantID, *approval, w.request.needs, digest)
	if err != nil {
		return false, err
	}
	w.approval = &audit.Approval{ID: a.ID, By: *a.DecidedBy}
	return true, nil
}

// ListApprovals lists a tenant's approvals.
func (s *adminServer) ListApprovals(c echo.Context, _ TenantPath, p ListApprovalsParams) error {
	all, next, err := s.cfg.Tenants.Approvals(c.Request().Context(), callOf(c).tenantID,
		tenant.ApprovalStatus(valueOr(p.Status, "")), valueOr(p.Limit, 0), valueOr(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := ApprovalList{Items: make([]Approval, len(all)), NextCursor: nonZero(next)}
	for i, a := range all {
		out.Items[i] = renderApproval(a)
	}
	return replyJSON(c, http.StatusOK, out)
}

// GetApproval reads an approval.
func (s *adminServer) GetApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	a, err := s.cfg.Tenants.Approval(c.Request().Context(), callOf(c).tenantID, id)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderApproval(a))
}

// ApproveApproval approves another caller's request.
func (s *adminServer) ApproveApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	return s.decideApproval(c, id, true)
}

// RejectApproval rejects another caller's request.
func (s *adminServer) RejectApproval(c echo.Context, _ TenantPath, id ApprovalIDPath) error {
	return s.decideApproval(c, id, false)
}

func (s *adminServer) decideApproval(c echo.Context, id uuid.UUID, yes bool) error {
	w := callOf(c)
	a, err := s.cfg.Tenants.DecideApproval(c.Request().Context(), w.auditBy(), w.tenantID, id, yes, w.mayDo)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderApproval(a))
}

// mayDo returns errForbidden if the caller's role does not allow the operation
// to be approved.
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
		out.DecidedBy = new(renderActor(*a.DecidedBy))
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

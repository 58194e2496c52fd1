package httpapi

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// approvalHeader brings a second person's approval to the request that it is for.
const approvalHeader = "Keyward-Approval"

// digestReader passes a body on and computes a digest of the request: method,
// path, query and body. It does not keep the body.
type digestReader struct {
	io.ReadCloser
	sum hash.Hash
}

// digestRequest replaces the body of a request by a digestReader.
func digestRequest(r *http.Request) *digestReader {
	d := &digestReader{ReadCloser: r.Body, sum: sha256.New()}
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

// withApproval lets a second person decide about requests whose effects need it. The
// stores decide that, under the tenant's lock: they refuse the change, which is then
// answered with 202 and a new approval. A request that brings one uses it up first, and
// is carried out unless it has effects by then that its approver was not told.
func (s *gate) withApproval(a permission, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		refused := s.useApproval(c, c.Request().Header.Get(approvalHeader))
		if refused != nil && !isRefusedApproval(refused) {
			return refused
		}
		err := next(c) // possibly a repetition of the request that used the approval, whose answer was lost
		var needs *tenant.NeedsApprovalError
		switch {
		case err != nil && refused != nil:
			return refused
		case !errors.As(err, &needs):
			return err
		}
		return s.requestApproval(c, a, needs)
	}
}

// isRefusedApproval reports whether an approval does not count for a request. That
// matters only if the request needs one.
func isRefusedApproval(err error) bool {
	return errors.As(err, new(*tenant.ApprovalStatusError)) || errors.Is(err, tenant.ErrNoApproval) || errors.Is(err, tenant.ErrOtherRequester) ||
		errors.Is(err, tenant.ErrOtherRequest) || errors.Is(err, tenant.ErrApproverRevoked)
}

// useApproval uses up the approval that a request brings, if its tenant requires any.
func (s *gate) useApproval(c echo.Context, header string) error {
	if header == "" || c.QueryParam("dry_run") == "true" || callOf(c).approval != nil { // used by a transaction that is repeated
		return nil
	}
	id, err := uuid.Parse(header)
	if err != nil || len(header) != 36 {
		return invalidField(approvalHeader, "must be the id of an approval")
	}
	w, ctx, ref := callOf(c), c.Request().Context(), tenant.PlatformSlug
	if w.tenantID != uuid.Nil {
		ref = w.tenantID.String()
	}
	t, err := s.cfg.Tenants.Get(ctx, ref)
	if err != nil || len(t.ApprovalRequired) == 0 {
		return err
	}
	digest, err := w.request.digest()
	if err != nil {
		return err
	}
	approval, err := s.cfg.Tenants.UseApproval(ctx, w.auditBy(), t.ID, id, digest)
	if err != nil {
		return err
	}
	w.approval = approval.Terms()
	return nil
}

// requestApproval answers 202 with a new approval.
func (s *gate) requestApproval(c echo.Context, of permission, needs *tenant.NeedsApprovalError) error {
	w, r := callOf(c), c.Request()
	digest, err := w.request.digest()
	if err != nil {
		return err
	}
	// Beside the change, which may belong to another tenant: the answer to a repeated
	// deletion is the platform's.
	a, err := s.cfg.Tenants.RequestApproval(tenant.BesideChange(r.Context()), w.auditBy(), needs, tenant.Request{
		OperationID: of.operation, Path: r.URL.EscapedPath(), Digest: digest,
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/tenants/"+needs.Slug+"/approvals/"+a.ID.String())
	return replyJSON(c, http.StatusAccepted, renderApproval(a))
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

// mayDo returns errForbidden if the caller's role does not allow the request to be
// approved.
func (w *call) mayDo(a tenant.Approval) error {
	if permissions[a.OperationID].allows(w.Role) {
		return nil
	}
	return errForbidden
}

func renderApproval(a tenant.Approval) Approval {
	out := Approval{
		ID: a.ID, Operation: ApprovalOperation(a.Operation), Effects: renderGuarded(a.Effects), OperationID: a.OperationID, Path: a.Path, Status: ApprovalStatus(a.Status), RequestedBy: renderActor(a.RequestedBy),
		CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, DecidedAt: a.DecidedAt, UsedAt: a.UsedAt,
	}
	if a.DecidedBy != nil {
		out.DecidedBy = new(renderActor(*a.DecidedBy))
	}
	if len(a.Changes) > 0 {
		out.Changes = renderChanges(a.Changes)
	}
	return out
}

func renderChanges(list []tenant.ApprovalChange) []ApprovalChange {
	out := make([]ApprovalChange, len(list))
	for i, c := range list {
		out[i] = ApprovalChange{Field: c.Field, Alg: nonZero(c.Alg), Before: c.Before, After: c.After, TooLong: nonZero(c.TooLong)}
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

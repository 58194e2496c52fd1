package tenant

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// RequestApproval asks for a second person's agreement to a request, which is
// known by its SHA-256. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) RequestApproval(ctx context.Context, by audit.By, tenantID uuid.UUID, op Operation, requestHash []byte) (Approval, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Approval{}, failed("request approval", err)
	}
	now := s.now()
	a := Approval{
		ID: id, Operation: op, Status: Pending, RequestedBy: by.Actor, CreatedAt: now, ExpiresAt: now.Add(ApprovalLifetime), requestHash: requestHash,
	}
	err = s.inHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		w := tx.Later()
		err := w.InsertApproval(ctx, db.InsertApprovalParams{
			TenantID: tenantID, ID: id, Operation: string(op), RequestHash: requestHash,
			RequesterType: string(by.Actor.Type), RequesterID: by.Actor.ID, RequesterName: by.Actor.Name, CreatedAt: now, ExpiresAt: a.ExpiresAt,
		})
		if err != nil {
			return err
		}
		return sendWithEvent(ctx, w, home, a.event(by, audit.ApprovalRequested, now))
	})
	return a, failed("request approval", err)
}

// DecideApproval says yes or no, in the name of somebody who did not ask. may
// is asked whether the caller may do the operation itself. Errors:
// ErrNoApproval, ErrOwnRequest, *ApprovalStatusError, may's, ErrNotFound,
// ErrUnavailable.
func (s *Store) DecideApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, yes bool, may func(Operation) error) (Approval, error) {
	status, action := Rejected, audit.ApprovalRejected
	if yes {
		status, action = Approved, audit.ApprovalApproved
	}
	return s.moveApproval(ctx, by, tenantID, id, action, func(a *Approval) error {
		switch err := may(a.Operation); {
		case err != nil:
			return err
		case sameActor(a.RequestedBy, by.Actor):
			return ErrOwnRequest
		case a.Status != Pending:
			return &ApprovalStatusError{a.Status}
		}
		now := s.now()
		a.Status, a.DecidedBy, a.DecidedAt = status, &by.Actor, &now
		return nil
	})
}

// UseApproval spends an approval on the request that it is for; the operation
// follows in a transaction of its own. After a crash in between the approval is
// used and nothing is done: ask again. Of several at once one gets it. Errors:
// ErrNoApproval, ErrOtherRequester, ErrOtherRequest, *ApprovalStatusError,
// ErrApproverRevoked, ErrNotFound, ErrUnavailable.
func (s *Store) UseApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, op Operation, requestHash []byte) (Approval, error) {
	a, err := s.Approval(ctx, tenantID, id)
	if err != nil {
		return Approval{}, err
	}
	if err := a.usableBy(by.Actor, op, requestHash); err != nil {
		return Approval{}, err
	}
	if err := s.stands(ctx, *a.DecidedBy); err != nil {
		return Approval{}, err
	}
	return s.moveApproval(ctx, by, tenantID, id, audit.ApprovalUsed, func(a *Approval) error {
		if err := a.usableBy(by.Actor, op, requestHash); err != nil {
			return err
		}
		now := s.now()
		a.Status, a.UsedAt = Used, &now
		return nil
	})
}

// stands says whether the agreement of somebody still counts: not that of an API
// key which has been revoked, since it may have been a thief's. Who signed in
// elsewhere is not known here.
func (s *Store) stands(ctx context.Context, decider audit.Actor) error {
	id, err := uuid.Parse(decider.ID)
	if decider.Type != audit.ActorAPIKey || err != nil {
		return nil
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.GetCredential(ctx, id)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return ErrApproverRevoked
	}
	return failed("approver", err)
}

// Relaxes says whether a change that is well-formed would take operations off
// the list of those that need an approval. Errors: *FieldErrors, ErrBuiltIn,
// ErrNotFound, ErrUnavailable.
func (s *Store) Relaxes(ctx context.Context, tenantID uuid.UUID, c Change) (bool, error) {
	before, err := s.GetAny(ctx, tenantID)
	if err != nil {
		return false, err
	}
	after, err := c.apply(before, s.now())
	return err == nil && relaxes(before, after.ApprovalRequired), err
}

// moveApproval lets decide change an approval under the tenant's lock. The
// statements are guarded by the state they expect all the same.
func (s *Store) moveApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, action audit.Action, decide func(*Approval) error) (a Approval, err error) {
	err = s.inHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		if a, err = s.approval(ctx, tx, tenantID, id); err != nil {
			return err
		}
		if err := decide(&a); err != nil {
			return err
		}
		w, at := tx.Later(), a.DecidedAt
		if a.UsedAt != nil {
			at = a.UsedAt
			_, err = w.UseApproval(ctx, *a.UsedAt, tenantID, id)
		} else {
			_, err = w.DecideApproval(ctx, db.DecideApprovalParams{
				Status: string(a.Status), DeciderType: string(a.DecidedBy.Type), DeciderID: a.DecidedBy.ID, DeciderName: a.DecidedBy.Name,
				DecidedAt: *a.DecidedAt, TenantID: tenantID, ID: id,
			})
		}
		if err != nil {
			return err
		}
		w.Expect(1)
		return sendWithEvent(ctx, w, home, a.event(by, action, *at))
	})
	return a, failed(string(action), err)
}

// Approval reads one. Errors: ErrNoApproval, ErrUnavailable.
func (s *Store) Approval(ctx context.Context, tenantID, id uuid.UUID) (a Approval, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		a, err = s.approval(ctx, tx, tenantID, id)
		return err
	})
	return a, failed("approval", err)
}

func (s *Store) approval(ctx context.Context, tx *db.Tx, tenantID, id uuid.UUID) (Approval, error) {
	row, err := tx.GetApproval(ctx, tenantID, id)
	if errors.Is(err, db.ErrNoRows) {
		return Approval{}, ErrNoApproval
	}
	return approvalOf(row, s.now()), err
}

// Approvals lists a tenant's approvals of one status, or all for "", newest
// first, and the cursor of the next page. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) Approvals(ctx context.Context, tenantID uuid.UUID, status ApprovalStatus, limit int, cursor string) ([]Approval, string, error) {
	after, err := parsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	var rows []db.Approval
	now := s.now()
	limit = bounded(limit)
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		rows, err = tx.ListApprovals(ctx, db.ListApprovalsParams{
			TenantID: tenantID, Status: string(status), Now: now,
			BeforeCreatedAt: after.createdAt, BeforeID: after.id, PageSize: int32(limit) + 1,
		})
		return err
	})
	if err != nil {
		return nil, "", failed("approvals", err)
	}
	all := make([]Approval, len(rows))
	for i, row := range rows {
		all[i] = approvalOf(row, now)
	}
	all, next := page(all, limit, func(a Approval) position { return position{a.CreatedAt, a.ID} })
	return all, next, nil
}

package tenant

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// RequestApproval creates a pending approval for a request that was refused with e.
// Errors: ErrTooManyApprovals, ErrNotFound, ErrUnavailable.
func (s *Store) RequestApproval(ctx context.Context, by audit.By, e *NeedsApprovalError, r Request) (Approval, error) {
	tenantID := e.TenantID
	id, err := approvalID(s.now())
	if err != nil {
		return Approval{}, wrapError("request approval", err)
	}
	a := Approval{
		ID: id, Operation: e.Operation, Effects: e.Effects, OperationID: r.OperationID, Path: r.Path, Changes: e.Changes,
		Status: Pending, RequestedBy: by.Actor, requestHash: r.Digest,
	}
	if a.changes, err = changesColumn(e.Changes); err != nil {
		return Approval{}, wrapError("request approval", err)
	}
	err = s.changeHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		now := home.TimeOfEffect(s.now())
		a.CreatedAt, a.ExpiresAt = now, now.Add(ApprovalLifetime)
		n, err := tx.CountApprovals(ctx, tenantID, now.Add(-ApprovalLifetime))
		if err != nil || n.Pending >= maxPendingApprovals || n.Requested >= maxRequestedApprovals {
			return cmp.Or(err, ErrTooManyApprovals)
		}
		w := tx.Later()
		err = w.InsertApproval(ctx, db.InsertApprovalParams{
			TenantID: tenantID, ID: id, Operation: string(a.Operation), Effects: guardedColumn(a.Effects), OperationID: a.OperationID, Path: a.Path, Changes: a.changes, RequestHash: r.Digest,
			RequesterType: string(by.Actor.Type), RequesterID: by.Actor.ID, RequesterName: by.Actor.Name, CreatedAt: now, ExpiresAt: a.ExpiresAt,
			MAC: s.authority.mac(a.macRecord(tenantID)),
		})
		if err != nil {
			return err
		}
		return sendWithEvent(ctx, w, home, a.event(by, audit.ApprovalRequested, now))
	})
	return a, wrapError("request approval", err)
}

// DecideApproval approves or rejects a pending approval on behalf of a second
// person. authorize returns an error if the caller may not make the request itself.
// Errors: ErrNoApproval, ErrOwnRequest, ErrNotSecondPerson, *ApprovalStatusError, the error of
// authorize, ErrNotFound, ErrUnavailable.
func (s *Store) DecideApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, approve bool, authorize func(Approval) error) (Approval, error) {
	status, action := Rejected, audit.ApprovalRejected
	if approve {
		status, action = Approved, audit.ApprovalApproved
	}
	if approve {
		a, err := s.Approval(ctx, tenantID, id)
		if err == nil && a.Status == Pending && !sameActor(a.RequestedBy, by.Actor) { // else moveApproval says why
			err = s.checkSecondPerson(ctx, tenantID, a, by.Actor)
		}
		if err != nil {
			return Approval{}, err
		}
	}
	return s.moveApproval(ctx, by, tenantID, id, action, func(a *Approval, now time.Time) error {
		switch err := authorize(*a); {
		case err != nil:
			return err
		case sameActor(a.RequestedBy, by.Actor):
			return ErrOwnRequest
		case a.Status != Pending:
			return &ApprovalStatusError{a.Status}
		}
		a.Status, a.DecidedBy, a.DecidedAt = status, &by.Actor, &now
		return nil
	})
}

// UseApproval marks an approval as used by the request with the given SHA-256. The
// change follows in a transaction of its own; after a crash between the two a new approval is needed.
// Of concurrent calls one succeeds. Errors: ErrNoApproval, ErrOtherRequester,
// ErrOtherRequest, *ApprovalStatusError, ErrApproverRevoked, ErrNotFound,
// ErrUnavailable.
func (s *Store) UseApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, requestHash []byte) (Approval, error) {
	a, err := s.Approval(ctx, tenantID, id)
	if err != nil {
		return Approval{}, err
	}
	if err := a.usableBy(by.Actor, requestHash); err != nil {
		return Approval{}, err
	}
	if err := s.checkDecider(ctx, *a.DecidedBy); err != nil {
		return Approval{}, err
	}
	return s.moveApproval(db.WithoutChange(ctx), by, tenantID, id, audit.ApprovalUsed, func(a *Approval, now time.Time) error {
		if err := a.usableBy(by.Actor, requestHash); err != nil {
			return err
		}
		a.Status, a.UsedAt = Used, &now
		return nil
	})
}

// checkDecider returns ErrApproverRevoked if the approval was given with an API key
// that has been revoked since, for it may have been stolen. Users of an identity
// provider are not checked again.
func (s *Store) checkDecider(ctx context.Context, decider audit.Actor) error {
	id, err := uuid.Parse(decider.ID)
	if decider.Type != audit.ActorAPIKey || err != nil {
		return nil
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		row, err := tx.GetCredential(ctx, id)
		if err != nil {
			return err
		}
		return s.authority.checkCredential(row)
	})
	if errors.Is(err, db.ErrNoRows) || errors.Is(err, ErrForged) {
		return ErrApproverRevoked
	}
	return wrapError("approver", err)
}

// moveApproval applies decide to an approval under the tenant's lock, at the time of
// effect, and stores the result. The statements also check the state that they expect.
func (s *Store) moveApproval(ctx context.Context, by audit.By, tenantID, id uuid.UUID, action audit.Action, decide func(*Approval, time.Time) error) (a Approval, err error) {
	err = s.changeHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		if a, err = s.approval(ctx, tx, tenantID, id); err != nil {
			return err
		}
		if err := decide(&a, home.TimeOfEffect(s.now())); err != nil {
			return err
		}
		w, at, mac := tx.Later(), a.DecidedAt, s.authority.mac(a.macRecord(tenantID))
		if a.UsedAt != nil {
			at = a.UsedAt
			_, err = w.UseApproval(ctx, db.UseApprovalParams{UsedAt: *a.UsedAt, MAC: mac, TenantID: tenantID, ID: id})
		} else {
			_, err = w.DecideApproval(ctx, db.DecideApprovalParams{
				Status: string(a.Status), DeciderType: string(a.DecidedBy.Type), DeciderID: a.DecidedBy.ID, DeciderName: a.DecidedBy.Name,
				DecidedAt: *a.DecidedAt, MAC: mac, TenantID: tenantID, ID: id,
			})
		}
		if err != nil {
			return err
		}
		w.Expect(1)
		return sendWithEvent(ctx, w, home, a.event(by, action, *at))
	})
	return a, wrapError(string(action), err)
}

// Approval returns an approval by id. Errors: ErrNoApproval, ErrUnavailable.
func (s *Store) Approval(ctx context.Context, tenantID, id uuid.UUID) (a Approval, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		a, err = s.approval(ctx, tx, tenantID, id)
		return err
	})
	return a, wrapError("approval", err)
}

func (s *Store) approval(ctx context.Context, tx *db.Tx, tenantID, id uuid.UUID) (Approval, error) {
	row, err := tx.GetApproval(ctx, tenantID, id)
	if errors.Is(err, db.ErrNoRows) {
		return Approval{}, ErrNoApproval
	}
	if err != nil {
		return Approval{}, err
	}
	return s.believe(row)
}

// believe converts a row and checks its code. Errors: ErrForged, ErrNoAuthority.
func (s *Store) believe(row db.Approval) (Approval, error) {
	stored := approvalFromRow(row, time.Time{}) // with the status that is stored, expired or not
	if err := s.authority.check("approvals", row.ID.String(), stored.macRecord(row.TenantID), row.MAC); err != nil {
		return Approval{}, err
	}
	if stored.tooLong() {
		return Approval{}, ErrForged
	}
	return approvalFromRow(row, s.now()), nil
}

// Approvals returns a tenant's approvals with a status, or all for "", newest
// first, and the cursor of the next page, "" on the last. Errors: ErrBadCursor,
// ErrUnavailable.
func (s *Store) Approvals(ctx context.Context, tenantID uuid.UUID, status ApprovalStatus, limit int, cursor string) ([]Approval, string, error) {
	after, err := ParsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	var rows []db.Approval
	now := s.now()
	limit = PageLimit(limit)
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		rows, err = tx.ListApprovals(ctx, db.ListApprovalsParams{
			TenantID: tenantID, Status: string(status), Now: now,
			BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(limit) + 1,
		})
		return err
	})
	if err != nil {
		return nil, "", wrapError("approvals", err)
	}
	all := make([]Approval, len(rows))
	for i, row := range rows {
		all[i] = approvalFromRow(row, now)
	}
	all, next := Page(all, limit, func(a Approval) Position { return Position{a.CreatedAt, a.ID} })
	return all, next, nil
}

// WaitingApproval is an approval that waits, with its tenant.
type WaitingApproval struct {
	Approval
	TenantID   uuid.UUID
	Slug, Name string // of the tenant
}

// WaitingApprovals returns the approvals of all tenants that wait, newest first, and the
// cursor of the next page, "" on the last. Callers must allow it only to the platform.
// Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) WaitingApprovals(ctx context.Context, limit int, cursor string) ([]WaitingApproval, string, error) {
	after, err := ParsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	var rows []db.ListWaitingApprovalsRow
	now := s.now()
	limit = PageLimit(limit)
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.ListWaitingApprovals(ctx, db.ListWaitingApprovalsParams{
			Now: now, Since: now.Add(-ApprovalLifetime), BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(limit) + 1,
		})
		return err
	})
	if err != nil {
		return nil, "", wrapError("waiting approvals", err)
	}
	all := make([]WaitingApproval, len(rows))
	for i, row := range rows {
		all[i] = WaitingApproval{Approval: approvalFromRow(row.Approval, now), TenantID: row.Approval.TenantID, Slug: row.Slug, Name: row.Name}
	}
	all, next := Page(all, limit, func(a WaitingApproval) Position { return Position{a.CreatedAt, a.ID} })
	return all, next, nil
}

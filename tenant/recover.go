package tenant

import (
	"context"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// EndedCredentials counts what [Store.EndCredentials] ended.
type EndedCredentials struct{ APIKeys, Approvals int }

// EndCredentials revokes every live API key of a tenant, and ends its open approvals, in
// one transaction; for the platform's tenant the platform's API keys. It is for a
// database restored to a time before some of them were revoked or used, when nobody
// knows which. Errors: ErrNotFound for a tenant that does not exist or is deleted,
// ErrForged, ErrUnavailable.
func (s *Store) EndCredentials(ctx context.Context, by audit.By, t Tenant) (ended EndedCredentials, err error) {
	owner := &t.ID
	if t.Slug == PlatformSlug {
		owner = nil
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		return s.withLock(ctx, tx, t.ID, func(tx *db.Tx, home TenantRow) (err error) {
			ended, err = s.endCredentials(ctx, tx, by, home, owner)
			return err
		})
	})
	if err != nil {
		return EndedCredentials{}, wrapError("end credentials", err)
	}
	s.credentials.drop(t.ID)
	return ended, nil
}

func (s *Store) endCredentials(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, owner *uuid.UUID) (EndedCredentials, error) {
	now := home.TimeOfEffect(s.now())
	keys, err := tx.ListUnrevokedAPIKeys(ctx, owner)
	if err != nil {
		return EndedCredentials{}, err
	}
	approvals, err := tx.ListOpenApprovals(ctx, home.ID, now)
	if err != nil {
		return EndedCredentials{}, err
	}
	var events []audit.Event
	for _, k := range keys {
		e := by.Event(now, audit.APIKeyRevoked)
		e.Details = audit.Details(map[string]any{"id": k.ID, "role": k.Role, "name": k.Name})
		events = append(events, e)
	}
	for _, a := range approvals {
		e := by.Event(now, audit.ApprovalUsed)
		if a.Status == string(Pending) {
			e.Action = audit.ApprovalRejected
		}
		e.Details = audit.Details(map[string]any{"id": a.ID, "operation": a.Operation})
		events = append(events, e)
	}
	if len(events) == 0 {
		return EndedCredentials{}, nil
	}
	w := tx.Later()
	if _, err := w.RevokeAPIKeys(ctx, &now, owner); err != nil {
		return EndedCredentials{}, err
	}
	w.Expect(len(keys))
	_, err = w.EndOpenApprovals(ctx, db.EndOpenApprovalsParams{
		DeciderType: string(by.Actor.Type), DeciderID: by.Actor.ID, DeciderName: by.Actor.Name, Now: now, TenantID: home.ID,
	})
	if err != nil {
		return EndedCredentials{}, err
	}
	w.Expect(len(approvals))
	a := audit.NewWrite(home.Head(), events, ChangePayloads(home.ID, home.Slug)...)
	return EndedCredentials{len(keys), len(approvals)},
		w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

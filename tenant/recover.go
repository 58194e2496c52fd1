package tenant

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// EndedCredentials counts what [Store.EndCredentials] ended.
type EndedCredentials struct{ APIKeys, WorkloadIdentities, Approvals int }

// EndCredentials revokes the live API keys of a tenant, deletes its workload identities,
// and ends its open approvals, in one transaction; for the platform's tenant the
// platform's API keys too. It is for a database restored to a time before some of them
// were revoked or used. lost are the ids of those that are known to have ended; nil if
// nobody knows, and all end. Open approvals all end, since their requests can be
// repeated. Errors: ErrNotFound for a tenant that does not exist or is deleted,
// ErrForged, ErrUnavailable.
func (s *Store) EndCredentials(ctx context.Context, by audit.By, t Tenant, lost map[uuid.UUID]bool) (ended EndedCredentials, err error) {
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		return s.withLock(ctx, tx, t.ID, func(tx *db.Tx, home TenantRow) (err error) {
			ended, err = s.endCredentials(ctx, tx, by, home, lost)
			return err
		})
	})
	if err != nil {
		return EndedCredentials{}, wrapError("end credentials", err)
	}
	s.credentials.drop(t.ID)
	s.workloads.drop(t.ID)
	return ended, nil
}

// BeginEpoch records that the database was recovered: cursors of gateways and event
// streams that were given before are invalid, signed JWK Sets say the new epoch, and the
// sessions of the console end. Errors: ErrNoAuthority, ErrUnavailable.
func (s *Store) BeginEpoch(ctx context.Context, by audit.By) error {
	if s.authority == nil {
		return ErrNoAuthority // nobody would believe the row
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if _, err := tx.EndConsoleSessions(ctx); err != nil {
			return err
		}
		epoch, err := tx.NextEpoch(ctx)
		if err != nil {
			return err
		}
		at := s.now().Truncate(time.Microsecond)
		return tx.InsertRecovery(ctx, db.InsertRecoveryParams{
			Epoch: epoch, At: at, Operator: by.Actor.Name, MAC: s.authority.mac(recoveryRecord(epoch, at, by.Actor.Name)),
		})
	})
	return wrapError("begin an epoch", err)
}

func (s *Store) endCredentials(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, lost map[uuid.UUID]bool) (EndedCredentials, error) {
	now := home.TimeOfEffect(s.now())
	keys, err := tx.ListUnrevokedAPIKeys(ctx, &home.ID)
	if err != nil {
		return EndedCredentials{}, err
	}
	if home.Slug == PlatformSlug { // its own chain has the events of both
		platform, err := tx.ListUnrevokedAPIKeys(ctx, nil)
		if err != nil {
			return EndedCredentials{}, err
		}
		keys = append(keys, platform...)
	}
	workloads, err := tx.LockWorkloadIdentities(ctx, home.ID)
	if err != nil {
		return EndedCredentials{}, err
	}
	approvals, err := tx.ListOpenApprovals(ctx, home.ID, now)
	if err != nil {
		return EndedCredentials{}, err
	}
	if lost != nil {
		keys = slices.DeleteFunc(keys, func(k db.ListUnrevokedAPIKeysRow) bool { return !lost[k.ID] })
		workloads = slices.DeleteFunc(workloads, func(w db.LockWorkloadIdentitiesRow) bool { return !lost[w.ID] })
	}
	var events []audit.Event
	keyIDs := make([]uuid.UUID, len(keys))
	for i, k := range keys {
		keyIDs[i] = k.ID
		e := by.Event(now, audit.APIKeyRevoked)
		e.Details = audit.Details(map[string]any{"id": k.ID, "role": k.Role, "name": k.Name})
		events = append(events, e)
	}
	ids, owners := make([]uuid.UUID, len(workloads)), make([]uuid.UUID, len(workloads))
	for i, k := range workloads {
		ids[i], owners[i] = k.ID, home.ID
		e := by.Event(now, audit.WorkloadIdentityDeleted)
		e.Details = audit.Details(WorkloadEnd(k.ID, k.Role, k.Name, k.Issuer))
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
	if _, err := w.RevokeAPIKeysByID(ctx, &now, keyIDs); err != nil {
		return EndedCredentials{}, err
	}
	w.Expect(len(keys))
	if _, err := w.DeleteWorkloadIdentities(ctx, now, owners, ids); err != nil {
		return EndedCredentials{}, err
	}
	w.Expect(len(workloads))
	_, err = w.EndOpenApprovals(ctx, db.EndOpenApprovalsParams{
		DeciderType: string(by.Actor.Type), DeciderID: by.Actor.ID, DeciderName: by.Actor.Name, Now: now, TenantID: home.ID,
	})
	if err != nil {
		return EndedCredentials{}, err
	}
	w.Expect(len(approvals))
	a := audit.NewWrite(home.Head(), events, ChangePayloads(home.ID, home.Slug)...)
	return EndedCredentials{len(keys), len(workloads), len(approvals)},
		w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

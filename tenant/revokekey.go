package tenant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// RevokedAPIKeys is the result of a revocation.
type RevokedAPIKeys struct {
	IDs  []uuid.UUID // the named credential first, then its descendants, workload identities last
	Left int         // live descendants that were not revoked
}

// RevokeAPIKey revokes a credential of a tenant, or of the platform for a nil
// tenantID. With children, all that descend from it are revoked in the same
// transaction: those that it made, and those that these made, workload identities
// included. A credential of the platform makes some in other tenants; those of tenants
// that require a second person's approval are left. This process refuses them from then on, other processes once they
// receive the notification. Errors: ErrNoAPIKey, also for a credential that was
// revoked before, *NeedsApprovalError, ErrNotFound, ErrNoPlatform, ErrUnavailable.
func (s *Store) RevokeAPIKey(ctx context.Context, by audit.By, tenantID *uuid.UUID, id uuid.UUID, children bool) (RevokedAPIKeys, error) {
	var r *revocation
	err := s.changeHome(ctx, tenantID, func(tx *db.Tx, home TenantRow) error {
		r = &revocation{store: s, by: by, at: home.TimeOfEffect(s.now())}
		return r.run(ctx, tx, home, tenantID, id, children)
	})
	if err != nil {
		return RevokedAPIKeys{}, wrapAPIKeyError("revoke API key", err)
	}
	db.AfterCommit(ctx, func() {
		for _, home := range r.homes {
			s.credentials.drop(home)
			s.workloads.drop(home)
		}
	})
	return RevokedAPIKeys{IDs: slices.Concat(r.ids, r.workloads), Left: r.left}, nil
}

// revocation is the revocation of credentials in one transaction.
type revocation struct {
	store *Store
	by    audit.By
	at    time.Time

	audit audit.Write
	homes []uuid.UUID // tenants in whose chains the events are
	ids   []uuid.UUID // API keys
	left  int

	workloads, workloadTenants []uuid.UUID // identities that they made, and whose they are
}

func (r *revocation) run(ctx context.Context, tx *db.Tx, home TenantRow, tenantID *uuid.UUID, id uuid.UUID, children bool) error {
	row, err := tx.GetAPIKey(ctx, tenantID, id)
	if errors.Is(err, db.ErrNoRows) || err == nil && row.RevokedAt != nil {
		return ErrNoAPIKey
	}
	if err != nil {
		return err
	}
	if err := home.Tenant().CheckApproval(r.by, ChangeAPIKeys); err != nil {
		return err
	}
	made, locked, err := r.descendants(ctx, tx, home.ID, tenantID, id, children)
	if err != nil {
		return err
	}
	own := []db.APIKeyDescendantsRow{{ID: row.ID, TenantID: row.TenantID, Role: row.Role, Name: row.Name}}
	if !children {
		r.left, made = len(made), nil
	}
	// Keys of the platform and of its tenant have their events in one chain.
	atHome := func(k db.APIKeyDescendantsRow) bool { return k.TenantID == nil || *k.TenantID == home.ID }
	for _, k := range made {
		if atHome(k) {
			own = append(own, k)
		}
	}
	r.add(home, own)
	r.addTenants(locked, slices.DeleteFunc(made, atHome))
	w := tx.Later()
	if _, err := w.RevokeAPIKeysByID(ctx, &r.at, r.ids); err != nil {
		return err
	}
	w.Expect(len(r.ids))
	if len(r.workloads) > 0 {
		if _, err := w.DeleteWorkloadIdentities(ctx, r.at, r.workloadTenants, r.workloads); err != nil {
			return err
		}
		w.Expect(len(r.workloads))
	}
	return w.SendWithAudit(ctx, db.MoveAuditHeadsParams(r.audit.Heads), db.InsertAuditEventsParams(r.audit.Events), r.audit.Payloads)
}

// descendants returns the live descendants of a credential, sorted by tenant. With
// children it locks the tenants of a platform's credential's descendants, in that order,
// and returns those in which credentials may be revoked. The home is locked before, so
// that the credential, and others of the platform, make no more; those of the other
// tenants make no more once these are locked, so they are read again then.
func (r *revocation) descendants(ctx context.Context, tx *db.Tx, homeID uuid.UUID, tenantID *uuid.UUID, id uuid.UUID, children bool) (
	made []db.APIKeyDescendantsRow, locked map[uuid.UUID]TenantRow, err error,
) {
	made, err = tx.APIKeyDescendants(ctx, id.String(), r.at)
	if err != nil || tenantID != nil || !children {
		return made, nil, err
	}
	locked = map[uuid.UUID]TenantRow{}
	for i, k := range made {
		if k.TenantID == nil || *k.TenantID == homeID || i > 0 && made[i-1].TenantID != nil && *made[i-1].TenantID == *k.TenantID {
			continue
		}
		row, err := r.store.lockLive(ctx, tx, *k.TenantID)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrForged), err == nil && row.Tenant().Guards(ChangeAPIKeys):
		case err != nil:
			return nil, nil, err
		default:
			locked[*k.TenantID] = row
		}
	}
	made, err = tx.APIKeyDescendants(ctx, id.String(), r.at)
	return made, locked, err
}

// addTenants adds descendants in tenants, which are sorted by tenant. Those in tenants
// that are not locked are left.
func (r *revocation) addTenants(locked map[uuid.UUID]TenantRow, made []db.APIKeyDescendantsRow) {
	for len(made) > 0 {
		id, n := *made[0].TenantID, 0
		for n < len(made) && *made[n].TenantID == id {
			n++
		}
		if row, ok := locked[id]; ok {
			r.add(row, made[:n])
		} else {
			r.left += n
		}
		made = made[n:]
	}
}

// add adds credentials whose events go into one tenant's chain.
func (r *revocation) add(home TenantRow, list []db.APIKeyDescendantsRow) {
	var events []audit.Event
	for _, k := range list {
		e := r.by.Event(home.TimeOfEffect(r.at), audit.APIKeyRevoked)
		details := map[string]any{"id": k.ID, "role": k.Role, "name": k.Name}
		if k.Issuer == "" {
			r.ids = append(r.ids, k.ID)
		} else {
			r.workloads, r.workloadTenants = append(r.workloads, k.ID), append(r.workloadTenants, *k.TenantID)
			e.Action, details = audit.WorkloadIdentityDeleted, WorkloadEnd(k.ID, k.Role, k.Name, k.Issuer)
		}
		e.Details = audit.Details(r.by.Details(details))
		events = append(events, e)
	}
	r.homes = append(r.homes, home.ID)
	r.audit.MoveHead(home.Head(), r.audit.Chain(home.Head(), events))
	r.audit.Payloads = append(r.audit.Payloads, ChangePayloads(home.ID, home.Slug)...)
}

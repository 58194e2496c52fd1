package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Update changes a live tenant and returns it as it is then. A change that
// changes nothing writes nothing. Of changes at once, each sees the one
// before. Errors: ErrNotFound, *FieldErrors, *PolicyError where a live policy
// does not fit the new caching, ErrDomainTaken, ErrBuiltIn,
// ErrNeedsApproval, ErrUnavailable.
func (s *Store) Update(ctx context.Context, by audit.By, id uuid.UUID, c Change) (Tenant, error) {
	var t Tenant
	err := s.db.InTenant(ctx, id, func(tx *db.Tx) (err error) {
		t, err = update(ctx, tx, by, id, c, s.now())
		return err
	})
	var malformed *FieldErrors
	switch {
	case errors.As(err, &malformed), errors.Is(err, ErrBuiltIn), errors.Is(err, ErrNeedsApproval):
		return Tenant{}, err
	case err != nil:
		return Tenant{}, failed("update", err)
	}
	return t, nil
}

func update(ctx context.Context, tx *db.Tx, by audit.By, id uuid.UUID, c Change, now time.Time) (Tenant, error) {
	row, err := lockLive(ctx, tx, id)
	if err != nil {
		return Tenant{}, err
	}
	before := row.Tenant()
	after, err := c.apply(before, now)
	if err != nil {
		return Tenant{}, err
	}
	if by.Approval == nil && relaxes(before, after.ApprovalRequired) {
		return Tenant{}, ErrNeedsApproval // it came on the list since somebody looked
	}
	events := updated(by, before, after, now)
	if len(events) == 0 {
		return before, nil
	}
	if after.Caching != before.Caching {
		if err := fits(ctx, tx, after); err != nil {
			return Tenant{}, err
		}
		after.CacheHorizon = horizon(before, after.Caching, now)
	}
	if !sameFreezes(before, after) {
		// A rotation may be due earlier now; the worker hears and plans anew.
		if err := tx.LookAgainAtPolicies(ctx, now, id); err != nil {
			return Tenant{}, err
		}
	}
	after.UpdatedAt = now
	var domains []string
	if before.CustomDomain != after.CustomDomain {
		domains = []string{before.CustomDomain, after.CustomDomain}
	}
	return writeTenant(ctx, tx, after, row.Head(), events, domains...)
}

// lockLive takes the lock that every change of a tenant takes first.
func lockLive(ctx context.Context, tx *db.Tx, id uuid.UUID) (TenantRow, error) {
	row, err := tx.LockTenant(ctx, id)
	if err == nil && row.Status == string(Deleted) {
		err = ErrNotFound
	}
	return TenantRow(row), err
}

// updated tells a change in events: one for the settings, one for the status.
func updated(by audit.By, before, after Tenant, now time.Time) []audit.Event {
	var events []audit.Event
	if d := difference(before, after); len(d) > 0 {
		e := by.Event(now, audit.TenantUpdated)
		e.Details = audit.Details(by.Details(d))
		events = append(events, e)
	}
	if before.Status != after.Status {
		action := audit.TenantResumed
		if after.Status == Suspended {
			action = audit.TenantSuspended
		}
		e := by.Event(now, action)
		e.FromState, e.ToState = string(before.Status), string(after.Status)
		events = append(events, e)
	}
	return events
}

func fits(ctx context.Context, tx *db.Tx, t Tenant) error {
	policies, err := livePolicies(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	return t.Caching.ValidateFor(policies)
}

// horizon is until when a cache filled under the settings before may still be
// fresh. With shorter ones a key would be promoted too early for such a cache;
// with longer ones the new lead covers it.
func horizon(before Tenant, c Caching, now time.Time) *time.Time {
	if c.Propagation() >= before.Caching.Propagation() {
		return before.CacheHorizon
	}
	until := now.Add(before.Caching.Propagation())
	if before.CacheHorizon != nil && before.CacheHorizon.After(until) {
		return before.CacheHorizon
	}
	return &until
}

// writeTenant stores the tenant with the events that describe the change. The
// statement that changes the row also moves the head of its chain. domains are
// those that the tenant gained or gave up.
func writeTenant(ctx context.Context, tx *db.Tx, t Tenant, head audit.Head, events []audit.Event, domains ...string) (Tenant, error) {
	a := audit.Write{Payloads: ChangePayloads(t.ID, t.Slug, domains...)}
	head = a.Chain(head, events)
	t.Version = head.Seq
	row, w := RowOf(t), tx.Later()
	_, err := w.UpdateTenant(ctx, db.UpdateTenantParams{
		Name: row.Name, Issuer: row.Issuer, CustomDomain: row.CustomDomain, Status: row.Status,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		CacheHorizon: row.CacheHorizon, NotBefore: row.NotBefore, UpdatedAt: row.UpdatedAt, DeletedAt: row.DeletedAt,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		AuditSeq: head.Seq, AuditHash: head.Hash, TenantID: row.ID,
	})
	if err != nil {
		return Tenant{}, err
	}
	w.Expect(1)
	return t, w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

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

// Update changes a live tenant and returns the result. A change without effect
// writes nothing. Concurrent changes are applied one after the other. Errors:
// ErrNotFound, *FieldErrors, *PolicyError if a live policy does not fit the new
// caching, ErrDomainTaken, ErrIssuerTaken, ErrHostNotVerified, ErrBuiltIn, ErrNeedsApproval, ErrUnavailable.
func (s *Store) Update(ctx context.Context, by audit.By, id uuid.UUID, c Change) (Tenant, error) {
	var t Tenant
	err := s.inDoorOf(ctx, id, c, func(tx *db.Tx) (err error) {
		t, err = s.updateTenant(ctx, tx, by, id, c)
		return err
	})
	if refused := Refused(err); c.OnlyVerifiedHosts && (errors.Is(refused, ErrDomainTaken) || errors.Is(refused, ErrIssuerTaken)) {
		return Tenant{}, ErrHostNotVerified
	}
	var malformed *FieldErrors
	switch {
	case errors.As(err, &malformed), errors.Is(err, ErrBuiltIn), errors.Is(err, ErrNeedsApproval), errors.Is(err, ErrHostNotVerified):
		return Tenant{}, err
	case err != nil:
		return Tenant{}, wrapError("update", err)
	}
	return t, nil
}

// inDoorOf runs fn with the role of the tenant, or with that of the platform for a
// change of names, which are compared with those of other tenants.
func (s *Store) inDoorOf(ctx context.Context, id uuid.UUID, c Change, fn func(*db.Tx) error) error {
	if !c.Issuer.Set && !c.CustomDomain.Set {
		return s.db.InTenant(ctx, id, fn)
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.LockNames(ctx); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (s *Store) updateTenant(ctx context.Context, tx *db.Tx, by audit.By, id uuid.UUID, c Change) (Tenant, error) {
	row, err := s.lockLive(ctx, tx, id)
	if err != nil {
		return Tenant{}, err
	}
	now := row.TimeOfEffect(s.now())
	before := row.Tenant()
	after, err := c.apply(before, now)
	if err != nil {
		return Tenant{}, err
	}
	events := updateEvents(by, before, after, now)
	if len(events) == 0 {
		return before, nil
	}
	if err := checkUpdate(by, before, after); err != nil {
		return Tenant{}, err
	}
	if after.Caching != before.Caching {
		if err := s.checkCaching(ctx, tx, after); err != nil {
			return Tenant{}, err
		}
		after.CacheHorizon = cacheHorizon(before, after.Caching, now)
	}
	if !sameFreezes(before, after) {
		// A rotation may be due earlier now: the worker plans again when notified.
		if err := tx.LookAgainAtPolicies(ctx, now, id); err != nil {
			return Tenant{}, err
		}
	}
	if before.OwnIssuer != after.OwnIssuer {
		if err := s.checkOwnIssuer(ctx, tx, after); err != nil {
			return Tenant{}, err
		}
	}
	names, err := s.claimNames(ctx, tx, before, after, c.OnlyVerifiedHosts)
	if err != nil {
		return Tenant{}, err
	}
	after.UpdatedAt = now
	var domains []string
	if before.CustomDomain != after.CustomDomain {
		domains = []string{before.CustomDomain, after.CustomDomain}
	}
	return s.writeTenant(ctx, tx, after, names, row.Head(), events, domains...)
}

// checkUpdate returns a *NeedsApprovalError, with what would change, if this actor must not
// make the change alone.
func checkUpdate(by audit.By, before, after Tenant) error {
	err := before.CheckApproval(by, ChangeSettings)
	if removesGuard(before, after.ApprovalRequired) && !approves(by, ChangeSettings) {
		err = before.needsApproval(Relax, []Operation{ChangeSettings})
	}
	return before.CheckValues(by, ChangeSettings, err, func() ([]ApprovalChange, error) { return settingChanges(before, after) })
}

// claimNames checks the names that a change gives to the tenant, and returns all of
// its names if it gives any.
func (s *Store) claimNames(ctx context.Context, tx *db.Tx, before, after Tenant, onlyVerified bool) (Names, error) {
	if before.OwnIssuer == after.OwnIssuer && before.CustomDomain == after.CustomDomain {
		return Names{}, nil // the statement keeps them
	}
	return s.names.Claim(before, after, func(hosts []string, domain string) (bool, error) {
		if onlyVerified {
			slices.Sort(hosts)
			hosts = slices.Compact(hosts)
			rows, err := tx.VerifiedDomains(ctx, after.ID, hosts)
			if err != nil || len(rows) != len(hosts) {
				return true, err
			}
			for _, row := range rows {
				if s.authority.checkDomain(row) != nil { // logged; who owns the host is not known
					return true, nil
				}
			}
		}
		return tx.HostsTaken(ctx, hosts, after.ID, domain)
	})
}

// lockLive locks a tenant's row, as every change of a tenant does first. Errors:
// ErrNotFound if the tenant is deleted, ErrForged, ErrNoAuthority.
func (s *Store) lockLive(ctx context.Context, tx *db.Tx, id uuid.UUID) (TenantRow, error) {
	found, err := tx.LockTenant(ctx, id)
	row := TenantRow(found)
	switch {
	case err != nil:
		return row, err
	case row.Status == string(Deleted):
		return row, ErrNotFound
	}
	return row, s.authority.CheckTenant(row)
}

// updateEvents returns the events of a change: one for settings, one for the status.
func updateEvents(by audit.By, before, after Tenant, now time.Time) []audit.Event {
	var events []audit.Event
	if d := changedSettings(before, after); len(d) > 0 {
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
		if by.Approval != nil {
			e.Details = audit.Details(by.Details(nil))
		}
		events = append(events, e)
	}
	return events
}

// checkCaching checks t's caching against its live policies.
func (s *Store) checkCaching(ctx context.Context, tx *db.Tx, t Tenant) error {
	policies, err := s.livePolicies(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	return t.Caching.ValidateFor(policies)
}

// cacheHorizon returns the time until which a cache filled under the previous
// settings may be fresh. With shorter new settings a key would be promoted too early
// for such a cache; longer ones cover it.
func cacheHorizon(before Tenant, c Caching, now time.Time) *time.Time {
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
func (s *Store) writeTenant(ctx context.Context, tx *db.Tx, t Tenant, names Names, head audit.Head, events []audit.Event, domains ...string) (Tenant, error) {
	a := audit.Write{Payloads: ChangePayloads(t.ID, t.Slug, domains...)}
	head = a.Chain(head, events)
	t.Version = head.Seq
	row, w := RowOf(t), tx.Later()
	_, err := w.UpdateTenant(ctx, db.UpdateTenantParams{
		Name: row.Name, Issuer: row.Issuer, IssuerName: names.Issuer, CustomDomain: row.CustomDomain, Status: row.Status,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		CacheHorizon: row.CacheHorizon, NotBefore: row.NotBefore, UpdatedAt: row.UpdatedAt, DeletedAt: row.DeletedAt,
		FreezeStarts: row.FreezeStarts, FreezeEnds: row.FreezeEnds, FreezeReasons: row.FreezeReasons, ApprovalRequired: row.ApprovalRequired, Metadata: row.Metadata,
		JWKSPath: row.JWKSPath, JWKSHeaders: row.JWKSHeaders, SearchText: t.SearchText(),
		MAC: s.authority.TenantMAC(row), AuditSeq: head.Seq, AuditHash: head.Hash, AuditAt: &head.LastAt, TenantID: row.ID,
	})
	if err != nil {
		return Tenant{}, err
	}
	w.Expect(1)
	return t, w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

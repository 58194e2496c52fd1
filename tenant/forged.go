package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Forged checks the codes of all rows that confer authority, stretch rows at a time,
// and returns a description of each one without a valid code, at most limit of them.
// Errors: ErrNoAuthority, ErrUnavailable.
func (s *Store) Forged(ctx context.Context, stretch int32, limit int) (rows []string, err error) {
	if s.authority == nil {
		return nil, ErrNoAuthority
	}
	note := func(forged error, format string, args ...any) {
		if forged != nil && len(rows) < limit {
			rows = append(rows, fmt.Sprintf(format, args...))
		}
	}
	for _, read := range []func(context.Context, int32, func(error, string, ...any)) error{
		s.forgedAPIKeys, s.forgedWorkloads, s.forgedSessions, s.forgedTenants, s.forgedDomains, s.forgedPolicies, s.forgedApprovals, s.forgedRecoveries,
	} {
		if err := read(ctx, stretch, note); err != nil {
			return nil, wrapError("check authentication codes", err)
		}
	}
	return rows, nil
}

// inStretches calls read, which returns how many rows it has read, until it reads
// fewer than stretch. Each call is a transaction.
func (s *Store) inStretches(ctx context.Context, stretch int32, read func(*db.Tx) (int, error)) error {
	for n := int(stretch); n == int(stretch); {
		err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			n, err = read(tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) forgedAPIKeys(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := uuid.Nil
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.APIKeysToCheck(ctx, after, stretch)
		for _, k := range rows {
			after = k.ID
			forged := s.authority.checkMaker(k)
			if k.RevokedAt == nil { // a revoked one has only the code of its maker
				forged = errors.Join(forged, s.authority.checkAPIKey(k))
			}
			note(forged, "API key %s (%s)", k.ID, k.Role)
		}
		return len(rows), err
	})
}

func (s *Store) forgedWorkloads(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := db.WorkloadIdentity{}
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.WorkloadIdentitiesToCheck(ctx, after.TenantID, after.ID, stretch)
		for _, w := range rows {
			after = w
			forged := s.authority.checkWorkloadMaker(w)
			if w.DeletedAt == nil { // a deleted one has only the code of its maker
				forged = errors.Join(forged, s.authority.checkWorkload(w))
			}
			note(forged, "workload identity %s of tenant %s (%s)", w.ID, w.TenantID, w.Role)
		}
		return len(rows), err
	})
}

func (s *Store) forgedTenants(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := uuid.Nil
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.TenantsToCheck(ctx, after, stretch)
		for _, row := range rows {
			after = row.ID
			note(s.authority.CheckTenant(TenantRow(row)), "tenant %s (%s)", row.ID, row.Slug)
		}
		return len(rows), err
	})
}

func (s *Store) forgedSessions(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := []byte{}
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.ConsoleSessionsToCheck(ctx, after, s.now(), stretch)
		for _, row := range rows {
			after = row.TokenHash
			note(s.authority.checkSession(row), "console session %x", row.TokenHash)
		}
		return len(rows), err
	})
}

func (s *Store) forgedDomains(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := db.Domain{}
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.DomainsToCheck(ctx, after.TenantID, after.Domain, stretch)
		for _, row := range rows {
			after = row
			note(s.authority.checkDomain(row), "domain %s of tenant %s", row.Domain, row.TenantID)
		}
		return len(rows), err
	})
}

func (s *Store) forgedPolicies(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := db.Policy{}
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.PoliciesToCheck(ctx, after.TenantID, after.Alg, stretch)
		for _, row := range rows {
			after = row
			note(s.authority.CheckPolicy(PolicyRow(row)), "policy %s of tenant %s", row.Alg, row.TenantID)
		}
		return len(rows), err
	})
}

func (s *Store) forgedApprovals(ctx context.Context, stretch int32, note func(error, string, ...any)) error {
	after := db.Approval{}
	return s.inStretches(ctx, stretch, func(tx *db.Tx) (int, error) {
		rows, err := tx.ApprovalsToCheck(ctx, after.TenantID, after.ID, stretch)
		for _, row := range rows {
			after = row
			_, forged := s.believe(row)
			note(forged, "approval %s of tenant %s", row.ID, row.TenantID)
		}
		return len(rows), err
	})
}

// forgedRecoveries reads all rows at once: keyward recover writes one each time it runs.
func (s *Store) forgedRecoveries(ctx context.Context, _ int32, note func(error, string, ...any)) error {
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.ListRecoveries(ctx)
		for _, r := range rows {
			note(s.authority.CheckRecovery(r.Epoch, r.At, r.Operator, r.MAC), "recovery %d by %s", r.Epoch, r.Operator)
		}
		return err
	})
}

// Restored compares the rows of a live tenant that confer authority with its history,
// and returns a description of each one that was put back to an earlier state, which
// leaves its code valid. Errors: ErrUnavailable.
func (s *Store) Restored(ctx context.Context, t Tenant) (rows []string, err error) {
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		rows = nil // the transaction may run twice
		at, err := tx.SettingsChangedAt(ctx, t.ID)
		if err != nil {
			return err
		}
		if !at.Equal(t.UpdatedAt) {
			rows = append(rows, "its settings")
		}
		revived, err := tx.RevivedAPIKeys(ctx, t.ID)
		for _, id := range revived {
			rows = append(rows, "API key "+id.String())
		}
		if err != nil {
			return err
		}
		workloads, err := tx.RevivedWorkloadIdentities(ctx, t.ID)
		for _, id := range workloads {
			rows = append(rows, "workload identity "+id.String())
		}
		if err != nil {
			return err
		}
		policies, err := tx.RestoredPolicies(ctx, t.ID)
		for _, alg := range policies {
			rows = append(rows, "policy "+alg)
		}
		if err != nil {
			return err
		}
		domains, err := tx.RestoredDomains(ctx, t.ID)
		for _, domain := range domains {
			rows = append(rows, "domain "+domain)
		}
		return err
	})
	return rows, wrapError("compare with history", err)
}

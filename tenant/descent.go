package tenant

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// maker is an actor, or one that made its credential, directly or by others.
type maker struct {
	audit.Actor
	platform bool // an API key of the platform
}

// makers returns an actor in a tenant and the ancestors of its credential, and the time
// at which the credential was made: zero for one that is no API key. Operators are left
// out: they have the database. Errors: ErrForged for a row whose maker is not the one
// that Keyward wrote, ErrUnavailable.
func (s *Store) makers(ctx context.Context, tenantID uuid.UUID, actor audit.Actor) (line []maker, createdAt time.Time, err error) {
	if actor.Type == audit.ActorWorkload {
		line, err = s.workloadMakers(ctx, tenantID, actor)
		return line, time.Time{}, err
	}
	id, err := uuid.Parse(actor.ID)
	if actor.Type != audit.ActorAPIKey || err != nil {
		return []maker{{Actor: actor}}, time.Time{}, nil
	}
	var rows []db.APIKeyMakersRow
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.APIKeyMakers(ctx, id)
		return err
	})
	for i, row := range rows {
		forged := s.authority.checkMaker(db.APIKey{
			ID: row.ID, TenantID: row.TenantID, CreatedAt: row.CreatedAt,
			CreatorType: row.CreatorType, CreatorID: row.CreatorID, CreatorName: row.CreatorName, MakerMAC: row.MakerMAC,
		})
		if forged != nil {
			return nil, time.Time{}, forged
		}
		line = append(line, maker{Actor: audit.Actor{Type: audit.ActorAPIKey, ID: row.ID.String()}, platform: row.TenantID == nil})
		if i == 0 {
			createdAt = row.CreatedAt
		}
		if row.CreatorType != nil && audit.ActorType(*row.CreatorType) == audit.ActorOIDC {
			line = append(line, maker{Actor: audit.Actor{Type: audit.ActorOIDC, ID: db.ZeroIfNull(row.CreatorID), Name: db.ZeroIfNull(row.CreatorName)}})
		}
	}
	return line, createdAt, wrapError("makers", err)
}

// checkSecondPerson returns ErrNotSecondPerson if the approver may be the person who
// requested an approval: their credentials have a maker in common, one of them
// included, or the approver's was made after the request, or is a workload, which is no
// person. An API key of the platform is no such maker for a tenant's requester: it makes
// the first keys of every tenant.
func (s *Store) checkSecondPerson(ctx context.Context, tenantID uuid.UUID, a Approval, approver audit.Actor) error {
	if approver.Type == audit.ActorWorkload {
		return ErrNotSecondPerson
	}
	requesters, _, err := s.makers(ctx, tenantID, a.RequestedBy)
	if err != nil {
		return err
	}
	approvers, createdAt, err := s.makers(ctx, tenantID, approver)
	if err != nil {
		return err
	}
	if !createdAt.IsZero() && !createdAt.Before(a.CreatedAt) {
		return ErrNotSecondPerson
	}
	ofTenant := len(requesters) > 0 && !requesters[0].platform
	for _, r := range requesters {
		for _, by := range approvers {
			if samePerson(r.Actor, by.Actor) && !(r.platform && ofTenant) {
				return ErrNotSecondPerson
			}
		}
	}
	return nil
}

// samePerson reports whether two actors are one, or two accounts with one e-mail
// address.
func samePerson(a, b audit.Actor) bool {
	return sameActor(a, b) || a.Type == audit.ActorOIDC && b.Type == audit.ActorOIDC && strings.Contains(a.Name, "@") && strings.EqualFold(a.Name, b.Name)
}

// changeAsMaker is changeHome for the creation of a credential. If an API key makes it,
// that key is not revoked meanwhile, so that a revocation with its children finds the new
// one: a key of the tenant itself is protected by the lock of the tenant's row, which a
// revocation takes too, one of the platform by a shared lock of the platform's, which
// both take before that of another tenant. Errors also: ErrUnauthenticated if the maker
// is revoked, *PolicyError if the new credential would outlive it.
func (s *Store) changeAsMaker(ctx context.Context, by audit.Actor, tenantID *uuid.UUID, expiresAt *time.Time, fn func(*db.Tx, TenantRow) error) error {
	makerID, err := uuid.Parse(by.ID)
	if by.Type != audit.ActorAPIKey || err != nil {
		return s.changeHome(ctx, tenantID, fn)
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		own, err := s.liveMaker(ctx, tx, makerID)
		if err != nil {
			return err
		}
		home, err := homeID(ctx, tx, tenantID)
		if err != nil {
			return err
		}
		if own.TenantID == nil && own.HomeID != home {
			if err := tx.ShareTenant(ctx, own.HomeID); err != nil {
				return err
			}
		}
		return s.withLock(ctx, tx, home, func(tx *db.Tx, row TenantRow) error {
			own, err := s.liveMaker(ctx, tx, makerID) // again, with the locks
			if err == nil {
				err = checkMakerExpiry(own, expiresAt)
			}
			if err != nil {
				return err
			}
			return fn(tx, row)
		})
	})
}

// liveMaker returns the API key that makes another. Errors: ErrUnauthenticated if it was
// revoked since the request came, or its row is forged.
func (s *Store) liveMaker(ctx context.Context, tx *db.Tx, id uuid.UUID) (db.GetCredentialRow, error) {
	own, err := tx.GetCredential(ctx, id)
	if errors.Is(err, db.ErrNoRows) || err == nil && s.authority.checkCredential(own) != nil {
		return own, ErrUnauthenticated
	}
	return own, err
}

// checkMakerExpiry returns a *PolicyError if a new credential would outlive the API
// key that makes it.
func checkMakerExpiry(own db.GetCredentialRow, expiresAt *time.Time) error {
	var broken fields
	if own.ExpiresAt != nil && (expiresAt == nil || expiresAt.After(*own.ExpiresAt)) {
		broken.add("expires_at", "must be set, and not be after the end of the credential that makes this one, %s", own.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return broken.policyError()
}

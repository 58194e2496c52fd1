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

// makers returns an actor and the ancestors of its credential, and the time
// at which the credential was made: zero for one that is no API key. Operators are left
// out: they have the database.
func (s *Store) makers(ctx context.Context, actor audit.Actor) (line []maker, createdAt time.Time, err error) {
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
// included, or the approver's was made after the request. An API key of the platform
// is no such maker for a tenant's requester: it makes the first keys of every tenant.
func (s *Store) checkSecondPerson(ctx context.Context, a Approval, approver audit.Actor) error {
	requesters, _, err := s.makers(ctx, a.RequestedBy)
	if err != nil {
		return err
	}
	approvers, createdAt, err := s.makers(ctx, approver)
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

// checkMakerExpiry returns a *PolicyError if a new credential would outlive the API
// key that makes it.
func (s *Store) checkMakerExpiry(ctx context.Context, by audit.Actor, expiresAt *time.Time) error {
	id, err := uuid.Parse(by.ID)
	if by.Type != audit.ActorAPIKey || err != nil {
		return nil
	}
	var own db.GetCredentialRow
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		own, err = tx.GetCredential(ctx, id)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return ErrUnauthenticated // revoked since the request came
	}
	if err != nil {
		return wrapError("maker", err)
	}
	var broken fields
	if own.ExpiresAt != nil && (expiresAt == nil || expiresAt.After(*own.ExpiresAt)) {
		broken.add("expires_at", "must be set, and not be after the end of the credential that makes this one, %s", own.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return broken.policyError()
}

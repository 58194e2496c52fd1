package tenant

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Principal is whom a request speaks for.
type Principal struct {
	Actor    audit.Actor // its ID is nobody else's, whatever its type
	Role     Role
	TenantID *uuid.UUID // nil: the platform's
}

// credential is what is kept in memory of one.
type credential struct {
	Principal
	hash      []byte
	expiresAt *time.Time
}

// Authenticate says whose key it was given. Once a credential was read it costs
// no SQL until its tenant changes or its time in memory is over; ids that do
// not exist are never kept, so that guessing fills no memory. A suspended
// tenant's credentials are valid.
//
// Errors: ErrUnauthenticated, whatever the reason; ErrUnavailable where neither
// memory nor PostgreSQL can tell.
func (s *Store) Authenticate(ctx context.Context, key string) (Principal, error) {
	id, ok := parseKey(key)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	now := s.now()
	c, ok := s.credentials.get(id, now)
	if !ok {
		var err error
		if c, err = s.readOnce(ctx, id); err != nil {
			return Principal{}, err
		}
	}
	if subtle.ConstantTimeCompare(hashKey(key), c.hash) != 1 || c.expiresAt != nil && !now.Before(*c.expiresAt) {
		return Principal{}, ErrUnauthenticated
	}
	s.used.note(id, now)
	return c.Principal, nil
}

// readOnce reads a credential once however many ask. It goes on if the one who
// asked first goes away.
func (s *Store) readOnce(ctx context.Context, id uuid.UUID) (credential, error) {
	result := s.reads.DoChan(id.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return s.read(ctx, id)
	})
	select {
	case <-ctx.Done():
		return credential{}, ctx.Err()
	case r := <-result:
		c, _ := r.Val.(credential)
		return c, r.Err
	}
}

// read reads a credential, again if its tenant changed meanwhile: somebody who
// came after the change may be waiting for the answer.
func (s *Store) read(ctx context.Context, id uuid.UUID) (c credential, err error) {
	for kept, tries := false, 0; err == nil && !kept && tries < 3; tries++ {
		c, kept, err = s.readAndKeep(ctx, id)
	}
	return c, err
}

func (s *Store) readAndKeep(ctx context.Context, id uuid.UUID) (c credential, kept bool, err error) {
	now, read := s.now(), s.credentials.begin()
	defer read.end()
	var row db.GetCredentialRow
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		row, err = tx.GetCredential(ctx, id)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return credential{}, false, ErrUnauthenticated
	}
	if err != nil {
		return credential{}, false, failed("authenticate", err)
	}
	c = credential{
		Principal: Principal{
			Actor: audit.Actor{Type: audit.ActorAPIKey, ID: row.ID.String(), Name: row.Name},
			Role:  Role(row.Role), TenantID: row.TenantID,
		},
		hash: row.SecretHash, expiresAt: row.ExpiresAt,
	}
	return c, read.keep(id, c, row.HomeID, now), nil
}

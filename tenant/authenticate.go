package tenant

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
)

// Principal is the authenticated caller of a request.
type Principal struct {
	Actor    audit.Actor // its ID is unique across all types
	Role     Role
	TenantID *uuid.UUID // nil: the platform's
}

// credential is a cached credential.
type credential struct {
	Principal
	hash      []byte
	expiresAt *time.Time
}

// Authenticate returns the principal of a key. A cached credential costs no SQL
// until its tenant changes or its lifetime in the cache ends. Unknown ids are never
// cached, so that guessing fills no memory. Credentials of a suspended tenant are
// valid.
//
// Errors: ErrUnauthenticated for every invalid key; ErrUnavailable if the
// credential is not cached and PostgreSQL is unavailable.
func (s *Store) Authenticate(ctx context.Context, key string) (Principal, error) {
	id, ok := parseKey(key)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	now := s.now()
	c, ok := s.credentials.get(id, age.Read(s.now))
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

// readOnce reads a credential from the database once for all concurrent callers.
// The read continues if the first caller is cancelled.
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

// read reads a credential, and reads it again if its tenant changed meanwhile: a
// caller that came after the change may share this read.
func (s *Store) read(ctx context.Context, id uuid.UUID) (c credential, err error) {
	for kept, tries := false, 0; err == nil && !kept && tries < 3; tries++ {
		c, kept, err = s.readAndKeep(ctx, id)
	}
	return c, err
}

func (s *Store) readAndKeep(ctx context.Context, id uuid.UUID) (c credential, kept bool, err error) {
	began, read := age.Read(s.now), s.credentials.begin()
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
		return credential{}, false, wrapError("authenticate", err)
	}
	c = credential{
		Principal: Principal{
			Actor: audit.Actor{Type: audit.ActorAPIKey, ID: row.ID.String(), Name: row.Name},
			Role:  Role(row.Role), TenantID: row.TenantID,
		},
		hash: row.SecretHash, expiresAt: row.ExpiresAt,
	}
	return c, read.keep(id, c, row.HomeID, began), nil
}

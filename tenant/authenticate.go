package tenant

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
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

// ColdReads is how many credentials that do not exist are looked up in a second, by
// all callers of a process together, and twice as many at once. Credentials that have
// been valid in this process are looked up without that limit.
const ColdReads = 100

// An id that belongs to no credential is not looked up again for unknownFor. Few of
// them are remembered: guessed ids do not repeat, a client's wrong setting does.
const (
	unknownFor = 5 * time.Second
	maxUnknown = 4096
)

// readWait is how long a request waits for its credential to be read from PostgreSQL,
// which may hang: the refusal of a signature must not be late.
const readWait = 1800 * time.Millisecond

// Authenticate returns the principal of a key. A cached credential costs no SQL
// until its tenant changes or its lifetime in the cache ends. Unknown ids are
// remembered briefly, and few of them, so that guessing fills no memory. Credentials of a
// suspended tenant are valid.
//
// Errors: ErrUnauthenticated for every invalid key; *admission.BusyError if too many ids of
// no credential were looked up; ErrUnavailable if the credential is not cached and
// PostgreSQL is unavailable.
func (s *Store) Authenticate(ctx context.Context, key string) (Principal, error) {
	p, known, err := s.AuthenticateCached(key)
	if known {
		return p, err
	}
	id, _ := parseKey(key)
	c, err := s.findCredential(ctx, id)
	if err != nil {
		return Principal{}, err
	}
	return s.verify(c, key, id, s.now())
}

// AuthenticateCached is Authenticate without the database; known is false if that has
// to be asked. Errors: ErrUnauthenticated.
func (s *Store) AuthenticateCached(key string) (p Principal, known bool, err error) {
	id, ok := parseKey(key)
	if !ok {
		return Principal{}, true, ErrUnauthenticated
	}
	now := s.now()
	if c, ok := s.credentials.get(id, age.Read(s.now)); ok {
		p, err = s.verify(c, key, id, now)
		return p, true, err
	}
	if at, ok := s.unknown.Get(id); ok && now.Sub(at).Abs() < unknownFor {
		return Principal{}, true, ErrUnauthenticated
	}
	return Principal{}, false, nil
}

// verify checks the secret and the expiry.
func (s *Store) verify(c credential, key string, id uuid.UUID, now time.Time) (Principal, error) {
	if subtle.ConstantTimeCompare(hashKey(key), c.hash) != 1 || c.expiresAt != nil && !now.Before(*c.expiresAt) {
		return Principal{}, ErrUnauthenticated
	}
	s.noteUse(id, now)
	return c.Principal, nil
}

// findCredential reads a credential from the database.
func (s *Store) findCredential(ctx context.Context, id uuid.UUID) (credential, error) {
	return readOnce(ctx, s, "authenticate", id, s.read)
}

// readOnce reads what has an id from the database once for all concurrent callers, and
// waits for readWait. The read continues if the first caller is cancelled. what is that of
// errors, and tells ids of different things apart.
func readOnce[T any](ctx context.Context, s *Store, what string, id uuid.UUID, read func(context.Context, uuid.UUID) (T, error)) (out T, err error) {
	result := s.reads.DoChan(what+" "+id.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return read(ctx, id)
	})
	wait := time.NewTimer(readWait)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return out, ctx.Err()
	case <-wait.C:
		return out, fmt.Errorf("tenant: %s: %w", what, ErrUnavailable)
	case r := <-result:
		out, _ = r.Val.(T)
		return out, r.Err
	}
}

// read reads a credential through the gate, unless it is known to have existed.
func (s *Store) read(ctx context.Context, id uuid.UUID) (c credential, err error) {
	leave := func(bool) {}
	if _, known := s.known.Get(id); !known {
		if leave, err = s.coldReads.Enter(ctx); err != nil {
			return credential{}, err
		}
	}
	c, err = readUnchanged(ctx, id, s.readAndKeep)
	switch {
	case err == nil:
		s.known.Note(id, struct{}{})
	case errors.Is(err, ErrUnauthenticated):
		s.unknown.Note(id, s.now())
	}
	leave(!errors.Is(err, ErrUnauthenticated))
	return c, err
}

// readUnchanged reads what has an id, and reads it again if its tenant changed meanwhile: a
// caller that came after the change may share this read.
func readUnchanged[T any](ctx context.Context, id uuid.UUID, readAndKeep func(context.Context, uuid.UUID) (T, bool, error)) (out T, err error) {
	for kept, tries := false, 0; err == nil && !kept && tries < 3; tries++ {
		out, kept, err = readAndKeep(ctx, id)
	}
	return out, err
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
	if err := s.authority.checkCredential(row); err != nil {
		return credential{}, false, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
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

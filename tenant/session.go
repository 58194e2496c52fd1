package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
)

// How long a session of the console lasts.
const (
	SessionLifetime = 12 * time.Hour   // at most
	SessionIdle     = 30 * time.Minute // without a request
	touchInterval   = time.Minute      // how exactly the last request is recorded
	maxSessions     = 100              // of one credential; the oldest ends
)

// Session is somebody's sign-in to the web console.
type Session struct {
	Principal
	CreatedAt time.Time
	ExpiresAt time.Time // at the latest
	IdleAt    time.Time // without a further request

	hash []byte
}

// StartSession signs p in and returns the token for the browser, 256 random bits
// of which only the SHA-256 is stored. The credential itself is stored nowhere: a
// session of an API key names the key, one of the identity provider the subject
// and the role that its token gave. A token that expires at until ends its
// session; nil means no such end. Errors: ErrUnauthenticated if p's credential or
// tenant is gone meanwhile, ErrUnavailable.
func (s *Store) StartSession(ctx context.Context, by audit.By, p Principal, until *time.Time) (string, Session, error) {
	token := rand.Text() + rand.Text() // 2 × 128 bits and more
	hash := sha256.Sum256([]byte(token))
	var row db.InsertConsoleSessionParams
	err := s.changeSessions(ctx, p, func(tx *db.Tx, home TenantRow) (err error) {
		now := home.TimeOfEffect(s.now())
		if row, err = s.newSessionRow(p, hash[:], now, until); err != nil {
			return err
		}
		if err := tx.DeleteEndedConsoleSessions(ctx, now); err != nil {
			return err
		}
		if err := tx.DeleteOldestConsoleSessions(ctx, row.APIKeyID, row.Subject, maxSessions-1); err != nil {
			return err
		}
		w := tx.Later()
		if err := w.InsertConsoleSession(ctx, row); err != nil {
			return err
		}
		e := by.Event(now, audit.SessionCreated)
		e.Details = audit.Details(map[string]any{"role": p.Role})
		return sendWithEvent(ctx, w, home, e)
	})
	if err != nil {
		return "", Session{}, wrapSessionError("start session", err)
	}
	return token, Session{Principal: p, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, IdleAt: row.CreatedAt.Add(SessionIdle), hash: hash[:]}, nil
}

// newSessionRow returns the row of a session of p that starts now. Errors:
// ErrUnauthenticated if it would have ended already.
func (s *Store) newSessionRow(p Principal, hash []byte, now time.Time, until *time.Time) (db.InsertConsoleSessionParams, error) {
	row := db.InsertConsoleSessionParams{TokenHash: hash, CreatedAt: now, ExpiresAt: now.Add(SessionLifetime)}
	if until != nil && until.Before(row.ExpiresAt) {
		row.ExpiresAt = until.UTC().Truncate(time.Microsecond)
	}
	if !row.ExpiresAt.After(now) {
		return row, ErrUnauthenticated
	}
	if p.Actor.Type == audit.ActorAPIKey {
		id, err := uuid.Parse(p.Actor.ID)
		if err != nil {
			return row, ErrUnauthenticated
		}
		row.APIKeyID = &id
	} else {
		row.Subject, row.SubjectName, row.Role, row.OfTenant = &p.Actor.ID, &p.Actor.Name, new(string(p.Role)), p.TenantID
	}
	row.MAC = s.authority.mac(sessionRecord(db.ConsoleSession{
		TokenHash: row.TokenHash, APIKeyID: row.APIKeyID, Subject: row.Subject, SubjectName: row.SubjectName, Role: row.Role,
		OfTenant: row.OfTenant, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
	}))
	return row, nil
}

// FindSession returns the session of a token, with what its holder may do now: an
// API key that was revoked or has expired ends its sessions, as does the end of
// the tenant. extend records the request, which puts off the end of an idle
// session; requests that the browser sends by itself must not. Errors:
// ErrUnauthenticated, whatever the reason; ErrUnavailable.
func (s *Store) FindSession(ctx context.Context, token string, extend bool) (Session, error) {
	now, hash := s.now(), sha256.Sum256([]byte(token))
	var row db.ConsoleSession
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		row, err = tx.GetConsoleSession(ctx, hash[:], now, now.Add(-SessionIdle))
		if err == nil && extend && now.Sub(row.LastSeenAt) > touchInterval && tx.CheckClock() == nil {
			row.LastSeenAt = now
			err = tx.TouchConsoleSession(ctx, now, hash[:])
		}
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return Session{}, ErrUnauthenticated
	}
	if err != nil {
		return Session{}, wrapError("find session", err)
	}
	if err := s.authority.checkSession(row); err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	p, err := s.sessionPrincipal(ctx, row)
	if err != nil {
		return Session{}, err
	}
	return Session{Principal: p, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, IdleAt: row.LastSeenAt.Add(SessionIdle), hash: hash[:]}, nil
}

func (s *Store) sessionPrincipal(ctx context.Context, row db.ConsoleSession) (Principal, error) {
	if row.APIKeyID != nil {
		return s.principalOf(ctx, *row.APIKeyID)
	}
	p := Principal{Actor: audit.Actor{Type: audit.ActorOIDC, ID: *row.Subject, Name: *row.SubjectName}, Role: Role(*row.Role), TenantID: row.OfTenant}
	if p.TenantID == nil {
		return p, nil
	}
	_, err := s.Resolve(ctx, p.TenantID.String())
	if errors.Is(err, ErrNotFound) {
		return Principal{}, ErrUnauthenticated
	}
	return p, err
}

// principalOf returns the owner of an API key by its id, from the cache that
// [Store.Authenticate] uses. Errors: those of Authenticate.
func (s *Store) principalOf(ctx context.Context, id uuid.UUID) (Principal, error) {
	now := s.now()
	c, ok := s.credentials.get(id, age.Read(s.now))
	if !ok {
		var err error
		if c, err = s.findCredential(ctx, id); err != nil {
			return Principal{}, err
		}
	}
	if c.expiresAt != nil && !now.Before(*c.expiresAt) {
		return Principal{}, ErrUnauthenticated
	}
	s.noteUse(id, now)
	return c.Principal, nil
}

// EndSession ends one session. It is no error if it has ended already. Errors:
// ErrUnavailable.
func (s *Store) EndSession(ctx context.Context, by audit.By, session Session) error {
	_, err := s.endSessions(ctx, by, session.Principal, func(tx *db.Tx) (int64, error) { return tx.DeleteConsoleSession(ctx, session.hash) })
	return err
}

// EndSessions ends all sessions of p's credential, in every browser, and returns
// how many there were. Errors: ErrUnavailable.
func (s *Store) EndSessions(ctx context.Context, by audit.By, p Principal) (int, error) {
	return s.endSessions(ctx, by, p, func(tx *db.Tx) (int64, error) {
		if p.Actor.Type != audit.ActorAPIKey {
			return tx.DeleteConsoleSessionsOf(ctx, nil, &p.Actor.ID)
		}
		id, err := uuid.Parse(p.Actor.ID)
		if err != nil {
			return 0, ErrUnauthenticated
		}
		return tx.DeleteConsoleSessionsOf(ctx, &id, nil)
	})
}

func (s *Store) endSessions(ctx context.Context, by audit.By, p Principal, remove func(*db.Tx) (int64, error)) (ended int, err error) {
	err = s.changeSessions(ctx, p, func(tx *db.Tx, home TenantRow) error {
		n, err := remove(tx)
		if ended = int(n); err != nil || n == 0 {
			return err
		}
		e := by.Event(home.TimeOfEffect(s.now()), audit.SessionEnded)
		e.Details = audit.Details(map[string]any{"sessions": n})
		return sendWithEvent(ctx, tx.Later(), home, e)
	})
	if err != nil {
		return 0, wrapSessionError("end session", err)
	}
	return ended, nil
}

// changeSessions runs fn with the row locked in whose chain p's sign-ins are
// recorded: that of p's tenant, or the platform's.
func (s *Store) changeSessions(ctx context.Context, p Principal, fn func(*db.Tx, TenantRow) error) error {
	return s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		var id uuid.UUID
		if p.TenantID != nil {
			id = *p.TenantID
		} else if id, err = tx.LiveTenantID(ctx, PlatformSlug); err != nil {
			return err
		}
		return s.withLock(ctx, tx, id, fn)
	})
}

func wrapSessionError(what string, err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, db.ErrNoRows) || errors.Is(err, ErrUnauthenticated) {
		return ErrUnauthenticated
	}
	return wrapError(what, err)
}

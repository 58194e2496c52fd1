package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// CreateAPIKey makes a credential and returns it with its key, which is not
// known to anybody afterwards. The events are in the tenant's chain, or in that
// of the platform's own tenant. Callers decide whether by may do so; the store
// sees to it that role and tenant belong together. A crash before the answer
// may leave a credential whose key nobody knows: with idem, the repeated
// request is told of it. Errors: *FieldErrors, ErrNotFound, ErrNoPlatform,
// *ReplayError, ErrIdempotencyMismatch, ErrUnavailable.
func (s *Store) CreateAPIKey(ctx context.Context, by audit.By, n NewAPIKey, idem *Idempotency) (APIKey, string, error) {
	now := s.now()
	if err := errors.Join(n.validate(now), idem.validate()); err != nil {
		return APIKey{}, "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return APIKey{}, "", failed("create API key", err)
	}
	k := APIKey{ID: id, TenantID: n.TenantID, Role: n.Role, Name: n.Name, CreatedAt: now, ExpiresAt: truncated(n.ExpiresAt)}
	key, hash := newKey(id)
	err = s.inHome(ctx, n.TenantID, func(tx *db.Tx, home TenantRow) error {
		if err := replayed(ctx, tx, home.ID, idem); err != nil {
			return err
		}
		return insertAPIKey(ctx, tx, by, home, k, hash, idem)
	})
	if err != nil {
		return APIKey{}, "", failedWithAPIKey("create API key", err)
	}
	return k, key, nil
}

// inHome runs fn with the row locked in whose chain changes of a credential
// are told: the tenant's own, or the platform's.
func (s *Store) inHome(ctx context.Context, tenantID *uuid.UUID, fn func(*db.Tx, TenantRow) error) error {
	if tenantID != nil {
		return s.db.InTenant(ctx, *tenantID, func(tx *db.Tx) error { return withLock(ctx, tx, *tenantID, fn) })
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		id, err := tx.LiveTenantID(ctx, PlatformSlug)
		if errors.Is(err, db.ErrNoRows) {
			return ErrNoPlatform
		}
		if err != nil {
			return err
		}
		return withLock(ctx, tx, id, fn)
	})
}

func withLock(ctx context.Context, tx *db.Tx, id uuid.UUID, fn func(*db.Tx, TenantRow) error) error {
	row, err := lockLive(ctx, tx, id)
	if err != nil {
		return err
	}
	return fn(tx, row)
}

// replayed finds what an earlier request under the same key has made. The
// tenant's lock is held, so there is none under way.
func replayed(ctx context.Context, tx *db.Tx, home uuid.UUID, idem *Idempotency) error {
	if idem == nil {
		return nil
	}
	row, err := tx.GetIdempotencyKey(ctx, home, idem.CredentialID, idem.Key)
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return idem.Replay(row.RequestHash, row.ResourceID)
}

func insertAPIKey(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, k APIKey, hash []byte, idem *Idempotency) error {
	w := tx.Later()
	err := w.InsertAPIKey(ctx, db.InsertAPIKeyParams{
		ID: k.ID, TenantID: k.TenantID, Role: string(k.Role), Name: k.Name, SecretHash: hash, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	})
	if err != nil {
		return err
	}
	if idem != nil {
		err := w.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
			TenantID: home.ID, CredentialID: idem.CredentialID, Key: idem.Key,
			RequestHash: idem.RequestHash, ResourceID: k.ID, CreatedAt: k.CreatedAt,
		})
		if err != nil {
			return err
		}
	}
	return sendWithKeyEvent(ctx, w, home, by.Event(k.CreatedAt, audit.APIKeyCreated), k)
}

// RevokeAPIKey ends a credential of a tenant or, where that is nil, of the
// platform: it authenticates nobody once this has returned, on this process or
// another that hears of it. Errors: ErrNoAPIKey, also for one that was revoked
// before, ErrNotFound, ErrNoPlatform, ErrUnavailable.
func (s *Store) RevokeAPIKey(ctx context.Context, by audit.By, tenantID *uuid.UUID, id uuid.UUID) error {
	now := s.now()
	var home uuid.UUID
	err := s.inHome(ctx, tenantID, func(tx *db.Tx, row TenantRow) error {
		home = row.ID
		return revokeAPIKey(ctx, tx, by, row, tenantID, id, now)
	})
	if err != nil {
		return failedWithAPIKey("revoke API key", err)
	}
	s.credentials.drop(home)
	return nil
}

func revokeAPIKey(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, tenantID *uuid.UUID, id uuid.UUID, now time.Time) error {
	row, err := tx.GetAPIKey(ctx, tenantID, id)
	if errors.Is(err, db.ErrNoRows) || err == nil && row.RevokedAt != nil {
		return ErrNoAPIKey
	}
	if err != nil {
		return err
	}
	w := tx.Later()
	if _, err := w.RevokeAPIKey(ctx, &now, tenantID, id); err != nil {
		return err
	}
	w.Expect(1)
	return sendWithKeyEvent(ctx, w, home, by.Event(now, audit.APIKeyRevoked), apiKey(row))
}

// sendWithKeyEvent sends what is queued with an event about a credential.
func sendWithKeyEvent(ctx context.Context, w *db.Writes, home TenantRow, e audit.Event, k APIKey) error {
	e.Details = audit.Details(map[string]any{"id": k.ID, "role": k.Role, "name": k.Name})
	return sendWithEvent(ctx, w, home, e)
}

// sendWithEvent sends what is queued with one event in home's chain.
func sendWithEvent(ctx context.Context, w *db.Writes, home TenantRow, e audit.Event) error {
	a := audit.NewWrite(home.Head(), []audit.Event{e}, ChangePayloads(home.ID, home.Slug)...)
	return w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

// failedWithAPIKey passes on what callers tell apart.
func failedWithAPIKey(what string, err error) error {
	var replay *ReplayError
	if errors.As(err, &replay) || errors.Is(err, ErrIdempotencyMismatch) || errors.Is(err, ErrNoAPIKey) || errors.Is(err, ErrNoPlatform) {
		return err
	}
	return failed(what, err)
}

package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// CreateAPIKey creates a credential and returns it with its key, which cannot be
// read again. The event goes into the tenant's chain, or into the platform tenant's.
// Callers decide whether by may do so; the store checks that role and tenant fit
// together. A crash before the response may leave a credential with an unknown key,
// unless the request runs in [Store.RunOnce]. Errors: *FieldErrors, *PolicyError if the
// new credential would outlive its maker, ErrMadeByWorkload, ErrNotFound, ErrNoPlatform, ErrNoAuthority,
// ErrUnavailable.
func (s *Store) CreateAPIKey(ctx context.Context, by audit.By, n NewAPIKey) (APIKey, string, error) {
	if err := n.validate(s.now()); err != nil {
		if wrong := s.db.CheckClock(); wrong != nil { // a right time may be refused by it
			return APIKey{}, "", wrong
		}
		return APIKey{}, "", err
	}
	if err := s.mayMakeCredentials(by.Actor); err != nil {
		return APIKey{}, "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return APIKey{}, "", wrapError("create API key", err)
	}
	k := APIKey{ID: id, TenantID: n.TenantID, Role: n.Role, Name: n.Name, ExpiresAt: truncateTime(n.ExpiresAt), CreatedBy: &by.Actor}
	key, hash := newKey(id)
	err = s.changeAsMaker(ctx, by.Actor, n.TenantID, k.ExpiresAt, func(tx *db.Tx, home TenantRow) error {
		if err := home.Tenant().CheckApproval(by, ChangeAPIKeys); err != nil {
			return err
		}
		if err := s.checkAPIKeys(ctx, tx, n.TenantID); err != nil {
			return err
		}
		k.CreatedAt = home.TimeOfEffect(s.now())
		return s.insertAPIKey(ctx, tx, by, home, k, hash)
	})
	if err != nil {
		return APIKey{}, "", wrapAPIKeyError("create API key", err)
	}
	return k, key, nil
}

// changeHome runs fn with the locked row of the tenant that owns a credential, or,
// for a nil tenantID, of the platform's tenant. fn's events go into its chain.
func (s *Store) changeHome(ctx context.Context, tenantID *uuid.UUID, fn func(*db.Tx, TenantRow) error) error {
	if tenantID != nil {
		return s.db.InTenant(ctx, *tenantID, func(tx *db.Tx) error { return s.withLock(ctx, tx, *tenantID, fn) })
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		id, err := homeID(ctx, tx, nil)
		if err != nil {
			return err
		}
		return s.withLock(ctx, tx, id, fn)
	})
}

// homeID returns the id of the tenant that owns a credential: for a nil tenantID the
// platform's. Errors: ErrNoPlatform.
func homeID(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID) (uuid.UUID, error) {
	if tenantID != nil {
		return *tenantID, nil
	}
	id, err := tx.LiveTenantID(ctx, PlatformSlug)
	if errors.Is(err, db.ErrNoRows) {
		return uuid.Nil, ErrNoPlatform
	}
	return id, err
}

func (s *Store) withLock(ctx context.Context, tx *db.Tx, id uuid.UUID, fn func(*db.Tx, TenantRow) error) error {
	row, err := s.lockLive(ctx, tx, id)
	if err == nil {
		err = tx.CheckClock() // not every change has an event, which would be refused
	}
	if err != nil {
		return err
	}
	return fn(tx, row)
}

// CountedFor is how long a row that is kept for good, as a revoked API key or a purged
// key, counts for the limits of a tenant: otherwise one who makes and ends them in a loop
// fills a table without end.
const CountedFor = 24 * time.Hour

// checkAPIKeys returns a *LimitError if there is no room for one more credential.
func (s *Store) checkAPIKeys(ctx context.Context, tx *db.Tx, tenantID *uuid.UUID) error {
	n, err := tx.CountAPIKeys(ctx, tenantID, s.now().Add(-CountedFor), int32(s.maxAPIKeys))
	if err == nil && n >= int64(s.maxAPIKeys) {
		err = &LimitError{What: "API keys that are live, or were made within 24 hours,", Limit: s.maxAPIKeys}
	}
	return err
}

func (s *Store) insertAPIKey(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, k APIKey, hash []byte) error {
	w := tx.Later()
	row := db.APIKey{
		ID: k.ID, TenantID: k.TenantID, Role: string(k.Role), Name: k.Name, SecretHash: hash, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
		CreatorType: new(string(by.Actor.Type)), CreatorID: &by.Actor.ID, CreatorName: &by.Actor.Name,
	}
	err := w.InsertAPIKey(ctx, db.InsertAPIKeyParams{
		ID: k.ID, TenantID: k.TenantID, Role: string(k.Role), Name: k.Name, SecretHash: hash, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
		CreatorType: string(by.Actor.Type), CreatorID: by.Actor.ID, CreatorName: by.Actor.Name,
		MAC: s.authority.mac(credentialRecord(row)), MakerMAC: s.authority.mac(makerRecord(row)),
	})
	if err != nil {
		return err
	}
	return sendWithKeyEvent(ctx, w, home, by, by.Event(k.CreatedAt, audit.APIKeyCreated), k)
}

// sendWithKeyEvent sends the queued statements with an event about a credential.
func sendWithKeyEvent(ctx context.Context, w *db.Writes, home TenantRow, by audit.By, e audit.Event, k APIKey) error {
	e.Details = audit.Details(by.Details(map[string]any{"id": k.ID, "role": k.Role, "name": k.Name}))
	return sendWithEvent(ctx, w, home, e)
}

// sendWithEvent sends the queued statements with one event in home's chain.
func sendWithEvent(ctx context.Context, w *db.Writes, home TenantRow, e audit.Event) error {
	a := audit.NewWrite(home.Head(), []audit.Event{e}, ChangePayloads(home.ID, home.Slug)...)
	return w.SendWithAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
}

// wrapAPIKeyError is wrapError, but returns the errors of credentials unchanged.
func wrapAPIKeyError(what string, err error) error {
	if errors.Is(err, ErrNoAPIKey) || errors.Is(err, ErrNoPlatform) || errors.Is(err, ErrUnauthenticated) {
		return err
	}
	return wrapError(what, err)
}

// ListAPIKeys returns the live credentials of a tenant, or of the platform for a nil
// tenantID, newest first, and the cursor of the next page, "" on the last. Errors:
// ErrBadCursor, ErrUnavailable.
func (s *Store) ListAPIKeys(ctx context.Context, tenantID *uuid.UUID, limit int, cursor string) ([]APIKey, string, error) {
	after, err := ParsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	limit = PageLimit(limit)
	rows, err := s.apiKeys(ctx, tenantID, after, int32(limit)+1)
	if err != nil {
		return nil, "", wrapError("list API keys", err)
	}
	keys := make([]APIKey, len(rows))
	for i, row := range rows {
		keys[i] = apiKeyFromRow(row)
	}
	keys, next := Page(keys, limit, func(k APIKey) Position { return Position{k.CreatedAt, k.ID} })
	return keys, next, nil
}

func (s *Store) apiKeys(ctx context.Context, tenantID *uuid.UUID, after Position, n int32) (rows []db.APIKey, err error) {
	if tenantID == nil {
		return rows, s.db.AsPlatform(ctx, func(tx *db.Tx) error {
			rows, err = tx.ListPlatformAPIKeys(ctx, after.CreatedAt, after.ID, n)
			return err
		})
	}
	return rows, s.db.InTenant(ctx, *tenantID, func(tx *db.Tx) error {
		rows, err = tx.ListTenantAPIKeys(ctx, db.ListTenantAPIKeysParams{
			TenantID: *tenantID, BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: n,
		})
		return err
	})
}

func apiKeyFromRow(r db.APIKey) APIKey {
	var creator *audit.Actor
	if r.CreatorType != nil {
		creator = &audit.Actor{Type: audit.ActorType(*r.CreatorType), ID: db.ZeroIfNull(r.CreatorID), Name: db.ZeroIfNull(r.CreatorName)}
	}
	return APIKey{
		CreatedBy: creator,
		ID:        r.ID, TenantID: r.TenantID, Role: Role(r.Role), Name: r.Name,
		CreatedAt: r.CreatedAt.UTC(), ExpiresAt: db.UTC(r.ExpiresAt), LastUsedAt: db.UTC(r.LastUsedAt),
	}
}

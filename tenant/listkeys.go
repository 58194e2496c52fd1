package tenant

import (
	"context"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// ListAPIKeys returns the credentials of a tenant or, where that is nil, of the
// platform, newest first, without revoked ones, and the cursor of the next
// page, which is empty on the last. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) ListAPIKeys(ctx context.Context, tenantID *uuid.UUID, limit int, cursor string) ([]APIKey, string, error) {
	after, err := parsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	limit = bounded(limit)
	rows, err := s.apiKeys(ctx, tenantID, after, int32(limit)+1)
	if err != nil {
		return nil, "", failed("list API keys", err)
	}
	keys := make([]APIKey, len(rows))
	for i, row := range rows {
		keys[i] = apiKey(row)
	}
	keys, next := page(keys, limit, func(k APIKey) position { return position{k.CreatedAt, k.ID} })
	return keys, next, nil
}

func (s *Store) apiKeys(ctx context.Context, tenantID *uuid.UUID, after position, n int32) (rows []db.APIKey, err error) {
	if tenantID == nil {
		return rows, s.db.AsPlatform(ctx, func(tx *db.Tx) error {
			rows, err = tx.ListPlatformAPIKeys(ctx, after.createdAt, after.id, n)
			return err
		})
	}
	return rows, s.db.InTenant(ctx, *tenantID, func(tx *db.Tx) error {
		rows, err = tx.ListTenantAPIKeys(ctx, db.ListTenantAPIKeysParams{
			TenantID: *tenantID, BeforeCreatedAt: after.createdAt, BeforeID: after.id, PageSize: n,
		})
		return err
	})
}

func apiKey(r db.APIKey) APIKey {
	return APIKey{
		ID: r.ID, TenantID: r.TenantID, Role: Role(r.Role), Name: r.Name,
		CreatedAt: r.CreatedAt.UTC(), ExpiresAt: db.UTC(r.ExpiresAt), LastUsedAt: db.UTC(r.LastUsedAt),
	}
}

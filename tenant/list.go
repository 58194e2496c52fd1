package tenant

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// ListFilter chooses tenants; what is empty chooses all that are live.
type ListFilter struct {
	Q      string // part of a slug or name, in any case
	Status Status // Deleted ones are listed only if asked for
	Limit  int    // 1 to 500; 0: 50, more: 500
	Cursor string // what List returned beside the page before
}

// List returns tenants, newest first, and the cursor of the next page, which
// is empty on the last. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, f ListFilter) ([]Tenant, string, error) {
	after, err := parsePosition(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var tenants []Tenant
	limit := bounded(f.Limit)
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		tenants, err = search(ctx, tx.Queries, audit.StorableText(f.Q), audit.StorableText(string(f.Status)), after, limit+1)
		return err
	})
	if err != nil {
		return nil, "", failed("list", err)
	}
	tenants, next := page(tenants, limit, func(t Tenant) position { return position{t.CreatedAt, t.ID} })
	return tenants, next, nil
}

// search reads a page. What many tenants have in their names is soon found among
// the newest, what few have by an index; which of both it is nobody knows before.
func search(ctx context.Context, q *db.Queries, text, status string, after position, size int) ([]Tenant, error) {
	if text == "" {
		rows, err := q.ListTenants(ctx, db.ListTenantsParams{
			Status: status, BeforeCreatedAt: after.createdAt, BeforeID: after.id, PageSize: int32(size),
		})
		return tenantsOf(rows), err
	}
	rows, err := q.MatchNewestTenants(ctx, db.MatchNewestTenantsParams{
		Q: text, Status: status, BeforeCreatedAt: after.createdAt, BeforeID: after.id, PageSize: int32(size),
	})
	if err != nil || len(rows) == size {
		return tenantsOf(rows), err
	}
	if more, err := q.MoreThanNewestTenants(ctx, status, after.createdAt, after.id); err != nil || !more {
		return tenantsOf(rows), err
	}
	found, err := q.FindTenants(ctx, db.FindTenantsParams{
		Q: text, Status: status, BeforeCreatedAt: after.createdAt, BeforeID: after.id, PageSize: int32(size),
	})
	return tenantsOf(found), err
}

// tenantsOf are the rows of any of these queries.
func tenantsOf[R db.ListTenantsRow | db.MatchNewestTenantsRow | db.FindTenantsRow](rows []R) []Tenant {
	out := make([]Tenant, len(rows))
	for i, row := range rows {
		out[i] = TenantRow(row).Tenant()
	}
	return out
}

// position is where a list that runs from the newest goes on.
type position struct {
	createdAt time.Time
	id        uuid.UUID
}

// A cursor is base64url (RFC 4648 section 5) of the creation time in
// microseconds, 8 bytes, and the id, 16.
func (p position) cursor() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.createdAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

func parsePosition(cursor string) (position, error) {
	if cursor == "" {
		return position{endOfTime, uuid.Max}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != 24 {
		return position{}, ErrBadCursor
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if at.Before(time.Unix(0, 0)) || at.After(endOfTime) {
		return position{}, ErrBadCursor
	}
	return position{at, uuid.UUID(b[8:])}, nil
}

// endOfTime is later than anything that is stored.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// page cuts off the item that was read only to know whether there is more.
func page[T any](items []T, limit int, at func(T) position) ([]T, string) {
	if len(items) <= limit {
		return items, ""
	}
	return items[:limit], at(items[limit-1]).cursor()
}

func bounded(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}

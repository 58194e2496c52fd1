package tenant

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// ListFilter selects tenants. The zero value selects all live ones.
type ListFilter struct {
	Q      string // part of a slug or name, ignoring case as Unicode defines it
	Status Status // Deleted ones are listed only if asked for
	// Alg and Problem select by the live policies. They are not combined with Q and Status.
	Alg     jose.SignatureAlgorithm
	Problem Problem
	Limit   int    // 1 to 500; 0: 50, more: 500
	Cursor  string // the cursor that List returned with the previous page
}

// Problem is what is wrong with a tenant.
type Problem string

// Problems that tenants can be listed by.
const (
	NoStandby    Problem = "no_standby"    // a policy has no standby key
	Overdue      Problem = "overdue"       // a policy has been due for OverdueAfter
	IsSuspended  Problem = "suspended"     // nothing is signed
	OldAlgorithm Problem = "old_algorithm" // a policy makes RSA keys of less than 3072 bits
)

// OverdueAfter is how long a worker that runs lets a policy wait at most.
const OverdueAfter = 5 * time.Minute

// oldBits is the size from which on RSA keys are not old.
const oldBits = 3072

// rsaAlgorithms are the algorithms of RSA keys.
var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

// List returns tenants, newest first, and the cursor of the next page, which
// is empty on the last. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, f ListFilter) ([]Tenant, string, error) {
	after, err := ParsePosition(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var tenants []Tenant
	limit := PageLimit(f.Limit)
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		tenants, err = readTenants(ctx, tx.Queries, f, after, s.now(), limit+1)
		return err
	})
	if err != nil {
		return nil, "", wrapError("list", err)
	}
	tenants, next := Page(tenants, limit, func(t Tenant) Position { return Position{t.CreatedAt, t.ID} })
	return tenants, next, nil
}

// readTenants reads a page of a list.
func readTenants(ctx context.Context, q *db.Queries, f ListFilter, after Position, now time.Time, size int) ([]Tenant, error) {
	switch {
	case f.Problem == IsSuspended:
		rows, err := q.ListTenants(ctx, db.ListTenantsParams{
			Status: string(Suspended), Alg: string(f.Alg), BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(size),
		})
		return tenantsFromRows(rows), err
	case f.Problem == NoStandby, f.Problem == Overdue:
		due := db.TenantsWithDuePoliciesParams{DueBefore: now, BeforeID: after.ID, Alg: string(f.Alg), NoStandby: f.Problem == NoStandby, PageSize: int32(size)}
		if f.Problem == Overdue {
			due.DueBefore = now.Add(-OverdueAfter)
		}
		rows, err := q.TenantsWithDuePolicies(ctx, due)
		return tenantsFromRows(rows), err
	case f.Problem == OldAlgorithm, f.Alg != "":
		by := db.TenantsByAlgorithmParams{Algs: []string{string(f.Alg)}, BelowBits: math.MaxInt32, BeforeID: after.ID, PageSize: int32(size)}
		if f.Problem == OldAlgorithm {
			by.BelowBits = oldBits
			by.Algs = slices.DeleteFunc(slices.Clone(rsaAlgorithms), func(alg string) bool { return f.Alg != "" && alg != string(f.Alg) })
		}
		rows, err := q.TenantsByAlgorithm(ctx, by)
		return tenantsFromRows(rows), err
	}
	return searchTenants(ctx, q, audit.StorableText(f.Q), audit.StorableText(string(f.Status)), after, size)
}

// searchTenants reads a page. A text in many names is found fast among the newest
// tenants, a text in few names by an index. The frequency is unknown, so it tries
// the newest first.
func searchTenants(ctx context.Context, q *db.Queries, text, status string, after Position, size int) ([]Tenant, error) {
	if text == "" {
		rows, err := q.ListTenants(ctx, db.ListTenantsParams{
			Status: status, BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(size),
		})
		return tenantsFromRows(rows), err
	}
	text = foldCase(text)
	rows, err := q.MatchNewestTenants(ctx, db.MatchNewestTenantsParams{
		Q: text, Status: status, BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(size),
	})
	if err != nil || len(rows) == size {
		return tenantsFromRows(rows), err
	}
	if more, err := q.MoreThanNewestTenants(ctx, status, after.CreatedAt, after.ID); err != nil || !more {
		return tenantsFromRows(rows), err
	}
	found, err := q.FindTenants(ctx, db.FindTenantsParams{
		Q: text, Status: status, BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(size),
	})
	return tenantsFromRows(found), err
}

// tenantsFromRows converts the rows of any query for a list.
func tenantsFromRows[R db.ListTenantsRow | db.TenantsByAlgorithmRow | db.TenantsWithDuePoliciesRow | db.MatchNewestTenantsRow | db.FindTenantsRow](rows []R) []Tenant {
	out := make([]Tenant, len(rows))
	for i, row := range rows {
		out[i] = TenantRow(row).Tenant()
	}
	return out
}

// Position is a place in a list from newest to oldest: directly after the item with
// this time and id.
type Position struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// Cursor encodes the position: base64url (RFC 4648 section 5) of the time in
// microseconds, 8 bytes, and the id, 16.
func (p Position) Cursor() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.CreatedAt.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.ID[:]...))
}

// ParsePosition decodes a cursor. An empty one is the start of the list. Errors:
// ErrBadCursor.
func ParsePosition(cursor string) (Position, error) {
	if cursor == "" {
		return Position{endOfTime, uuid.Max}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != 24 {
		return Position{}, ErrBadCursor
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if at.Before(time.Unix(0, 0)) || at.After(endOfTime) {
		return Position{}, ErrBadCursor
	}
	return Position{at, uuid.UUID(b[8:])}, nil
}

// endOfTime is later than any stored time.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Page returns at most limit of items, which were read with a limit of one more,
// and the cursor of the next page, "" if there is none.
func Page[T any](items []T, limit int, position func(T) Position) ([]T, string) {
	if len(items) <= limit {
		return items, ""
	}
	return items[:limit], position(items[limit-1]).Cursor()
}

// PageLimit returns the page size for a requested limit: 50 for 0, at most 500.
func PageLimit(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}

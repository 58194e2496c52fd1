package tenant

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// ListFilter selects tenants that have all of what is set. The zero value selects all live ones.
type ListFilter struct {
	Q       string                  // part of a slug or name, ignoring case as Unicode defines it
	Status  Status                  // Deleted ones are listed only if asked for
	Alg     jose.SignatureAlgorithm // of a live policy; with a problem of policies, of the policy that has it
	Problem Problem
	Limit   int    // 1 to 500; 0: 50, more: 500
	Cursor  string // the cursor that List returned with the previous page
}

// Problem is what is wrong with a tenant.
type Problem string

// Problems that tenants can be listed by.
const (
	NoStandby       Problem = "no_standby"       // a policy has no standby key
	Overdue         Problem = "overdue"          // a policy has been due for OverdueAfter
	IsSuspended     Problem = "suspended"        // nothing is signed
	VerifiersBehind Problem = "verifiers_behind" // verifiers have not fetched a standby key whose publish lead is over
	HasLargeSet     Problem = "large_set"        // more than LargeSet keys are published
	OldAlgorithm    Problem = "old_algorithm"    // a policy makes RSA keys of less than 3072 bits
)

// OverdueAfter is how long a worker that runs lets a policy wait at most.
const OverdueAfter = 5 * time.Minute

// LargeSet is the number of published keys above which a JWK Set is heavy for verifiers. The
// index tenants_large_set has it too.
const LargeSet = 12

// VerifierWindow is how long a verifier counts after its last request.
const VerifierWindow = 3 * 24 * time.Hour

// oldBits is the size from which on RSA keys are not old. The index policies_old_rsa has it too.
const oldBits = 3072

// rsaAlgorithms are the algorithms of RSA keys.
var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

// maxWalk is how many tenants a page of a list looks at, where no index has what is asked for.
// Of tenants that an index of something else leads to it looks at half as many, because these
// do not lie together.
var maxWalk int32 = 20_000

// List returns tenants, newest first, and the cursor of the next page, which is empty on the
// last. A page may have fewer tenants than f.Limit, or none, and be followed by others: if many
// tenants have one of the things that f asks for and few have all, a page ends after at most
// 20,000 tenants were looked at. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, f ListFilter) ([]Tenant, string, error) {
	after, err := ParsePosition(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var page []Tenant
	var next Position
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		page, next, err = readTenants(ctx, tx.Queries, f, after, s.now())
		return err
	})
	if err != nil {
		return nil, "", wrapError("list", err)
	}
	if next == (Position{}) {
		return page, "", nil
	}
	return page, next.Cursor(), nil
}

// listQuery is a ListFilter as the statements take it.
type listQuery struct {
	text, status string
	alg          string
	old          bool // of policies that make short RSA keys only
	after        Position
	size         int32
}

// readTenants reads a page of a list, and after which position the next one begins: the zero
// one if there is none.
func readTenants(ctx context.Context, q *db.Queries, f ListFilter, after Position, now time.Time) (page []Tenant, next Position, err error) {
	limit := PageLimit(f.Limit)
	l := listQuery{
		text: foldCase(audit.StorableText(f.Q)), status: audit.StorableText(string(f.Status)), alg: string(f.Alg), old: f.Problem == OldAlgorithm,
		after: after, size: int32(limit + 1),
	}
	tenants, walkedTo, err := l.read(ctx, q, f.Problem, now)
	if len(tenants) <= limit {
		return tenants, walkedTo, err
	}
	last := tenants[limit-1]
	return tenants[:limit], Position{last.CreatedAt, last.ID}, err
}

// read reads a page and one more tenant. If it did not look at all tenants, and found no full
// page, walkedTo is how far it came.
func (l listQuery) read(ctx context.Context, q *db.Queries, problem Problem, now time.Time) (tenants []Tenant, walkedTo Position, err error) {
	switch problem {
	case NoStandby:
		return l.due(ctx, q, now, true)
	case Overdue:
		return l.due(ctx, q, now.Add(-OverdueAfter), false)
	case VerifiersBehind:
		rows, err := q.TenantsWithVerifiersBehind(ctx, db.TenantsWithVerifiersBehindParams{
			Q: l.text, Status: l.status, Alg: l.alg, BeforeID: l.after.ID, Since: now.Add(-VerifierWindow), Now: now, PageSize: l.size,
		})
		return tenantsFromRows(rows), Position{}, err
	case HasLargeSet:
		return l.withLargeSet(ctx, q)
	case IsSuspended:
		if l.status == string(Active) {
			return nil, Position{}, nil
		}
		l.status = string(Suspended)
	}
	byPolicy := l.alg != "" || l.old
	switch {
	case l.text != "":
		return l.search(ctx, q)
	case byPolicy && l.status == string(Suspended): // of which there are few
		return l.walk(ctx, q, maxWalk)
	case byPolicy:
		return l.byPolicy(ctx, q)
	}
	rows, err := q.ListTenants(ctx, db.ListTenantsParams{Status: l.status, BeforeCreatedAt: l.after.CreatedAt, BeforeID: l.after.ID, PageSize: l.size})
	return tenantsFromRows(rows), Position{}, err
}

// due reads tenants with policies that were due at a time.
func (l listQuery) due(ctx context.Context, q *db.Queries, before time.Time, noStandby bool) ([]Tenant, Position, error) {
	rows, err := q.TenantsWithDuePolicies(ctx, db.TenantsWithDuePoliciesParams{
		DueBefore: before, NoStandby: noStandby, Q: l.text, Status: l.status, Alg: l.alg, BeforeID: l.after.ID, PageSize: l.size,
	})
	return tenantsFromRows(rows), Position{}, err
}

func (l listQuery) withLargeSet(ctx context.Context, q *db.Queries) ([]Tenant, Position, error) {
	nth, err := q.NthWithLargeSet(ctx, l.after.ID, maxWalk/2-1)
	end, err := walkEnd(db.NthTenantRow(nth), err)
	if err != nil {
		return nil, Position{}, err
	}
	rows, err := q.TenantsWithLargeSets(ctx, db.TenantsWithLargeSetsParams{Q: l.text, Status: l.status, Alg: l.alg, UntilID: end.ID, BeforeID: l.after.ID, PageSize: l.size})
	return tenantsFromRows(rows), end, err
}

// byPolicy reads tenants in the order of an index of policies: that of short RSA keys or that
// of algorithms.
func (l listQuery) byPolicy(ctx context.Context, q *db.Queries) ([]Tenant, Position, error) {
	if l.old {
		nth, err := q.NthWithOldAlgorithm(ctx, l.after.ID, maxWalk/2-1)
		end, err := walkEnd(db.NthTenantRow(nth), err)
		if err != nil {
			return nil, Position{}, err
		}
		rows, err := q.TenantsWithOldAlgorithms(ctx, db.TenantsWithOldAlgorithmsParams{
			Alg: l.alg, Q: l.text, Status: l.status, UntilID: end.ID, BeforeID: l.after.ID, PageSize: l.size,
		})
		return tenantsFromRows(rows), end, err
	}
	nth, err := q.NthByAlgorithm(ctx, l.alg, l.after.ID, maxWalk/2-1)
	end, err := walkEnd(db.NthTenantRow(nth), err)
	if err != nil {
		return nil, Position{}, err
	}
	rows, err := q.TenantsByAlgorithm(ctx, db.TenantsByAlgorithmParams{
		Alg: l.alg, Q: l.text, Status: l.status, UntilID: end.ID, BeforeID: l.after.ID, PageSize: l.size,
	})
	return tenantsFromRows(rows), end, err
}

// algorithms returns the algorithms of which a tenant must have a policy, nil for any, and the
// size of RSA keys below which that counts.
func (l listQuery) algorithms() (algs []string, belowBits int32) {
	switch {
	case l.alg != "" && l.old:
		return []string{l.alg}, oldBits
	case l.alg != "":
		return []string{l.alg}, math.MaxInt32
	case l.old:
		return rsaAlgorithms, oldBits
	}
	return nil, math.MaxInt32
}

// walk reads tenants in the order of the list, n at most.
func (l listQuery) walk(ctx context.Context, q *db.Queries, n int32) ([]Tenant, Position, error) {
	nth, err := q.NthTenant(ctx, db.NthTenantParams{Status: l.status, BeforeCreatedAt: l.after.CreatedAt, BeforeID: l.after.ID, Skip: n - 1})
	end, err := walkEnd(nth, err)
	if err != nil {
		return nil, Position{}, err
	}
	algs, belowBits := l.algorithms()
	rows, err := q.MatchTenants(ctx, db.MatchTenantsParams{
		Q: l.text, Status: l.status, Algs: algs, BelowBits: belowBits, BeforeCreatedAt: l.after.CreatedAt, BeforeID: l.after.ID,
		UntilCreatedAt: end.CreatedAt, UntilID: end.ID, PageSize: l.size,
	})
	return tenantsFromRows(rows), end, err
}

// walkEnd returns where a walk ends: the zero position, which is before all tenants, if there
// are not so many.
func walkEnd(nth db.NthTenantRow, err error) (Position, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Position{}, nil
	}
	return Position{nth.CreatedAt, nth.ID}, err
}

// newest is how many tenants a search looks at before it asks how frequent its text is.
const newest = 1000

// frequentPages is in how many pages of the sample of [db.Queries.SamplePieces] a text is that
// the index of pieces finds too often.
const frequentPages = 8

// search reads a page of a search. A text in many names is found soon among the newest
// tenants, a text in few names by the index of pieces. One in many names of old tenants is
// looked for step by step, since the index has no order.
func (l listQuery) search(ctx context.Context, q *db.Queries) ([]Tenant, Position, error) {
	tenants, end, err := l.walk(ctx, q, min(newest, maxWalk))
	if err != nil || len(tenants) == int(l.size) || end == (Position{}) {
		return tenants, end, err
	}
	pages, err := q.SamplePieces(ctx, piecesOf(l.text))
	if err != nil {
		return nil, Position{}, err
	}
	algs, belowBits := l.algorithms()
	switch {
	case pages < frequentPages:
		found, err := q.FindTenants(ctx, db.FindTenantsParams{
			Q: l.text, Status: l.status, Algs: algs, BelowBits: belowBits, BeforeCreatedAt: l.after.CreatedAt, BeforeID: l.after.ID, PageSize: l.size,
		})
		return tenantsFromRows(found), Position{}, err
	case algs != nil && l.status != string(Suspended):
		return l.byPolicy(ctx, q)
	}
	return l.walk(ctx, q, maxWalk)
}

// piecesOf returns the pieces by which the index finds a text, as keyward_pieces_of does: its
// trigrams or, if it is shorter than one, the text itself.
func piecesOf(text string) []string {
	letters := []rune(text)
	pieces := []string{string(letters[:min(3, len(letters))])}
	for i := 1; i+3 <= len(letters); i++ {
		pieces = append(pieces, string(letters[i:i+3]))
	}
	return pieces
}

// tenantsFromRows converts the rows of any query for a list.
func tenantsFromRows[R db.ListTenantsRow | db.TenantsByAlgorithmRow | db.TenantsWithOldAlgorithmsRow | db.TenantsWithDuePoliciesRow | db.TenantsWithLargeSetsRow | db.TenantsWithVerifiersBehindRow | db.MatchTenantsRow | db.FindTenantsRow](rows []R) []Tenant {
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

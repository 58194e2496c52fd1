package moves

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// Entry is a key and its future transitions.
type Entry struct {
	keys.Key
	NextTransitionAt *time.Time // by schedule; nil: never
	SafeToRetireAt   *time.Time // when all its tokens have expired; nil: unknown, or no longer published
}

// Filter selects keys. The zero value selects all.
type Filter struct {
	State   keys.State
	Alg     jose.SignatureAlgorithm
	ValidAt time.Time // published at that time
	Limit   int       // 1 to 500
	Cursor  string    // a Page's Next
}

// Page is one page of a list, newest key first.
type Page struct {
	Items []Entry
	Next  string // empty on the last page
}

// Find returns one key with its future transitions. Errors: ErrNotFound, ErrUnavailable,
// tenant.ErrForged.
func (s *Store) Find(ctx context.Context, tenantID uuid.UUID, kid string) (e Entry, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		row, err := tx.GetKey(ctx, tenantID, kid)
		if err != nil {
			return err
		}
		l, err := s.readPublished(ctx, tx, tenantID)
		if err != nil {
			return err
		}
		e = l.entryOf(snapshot.KeyRow(row).Key())
		return nil
	})
	if errors.Is(err, db.ErrNoRows) {
		return Entry{}, ErrNotFound
	}
	return e, err
}

// List returns a page of a tenant's keys. Errors: keys.ErrBadCursor, ErrNotFound,
// ErrUnavailable, tenant.ErrForged.
func (s *Store) List(ctx context.Context, tenantID uuid.UUID, f Filter) (p Page, err error) {
	after, err := parseCursor(f.Cursor)
	if err != nil {
		return Page{}, err
	}
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		rows, err := readKeys(ctx, tx.Queries, tenantID, f, after)
		if err != nil {
			return err
		}
		l, err := s.readPublished(ctx, tx, tenantID)
		if err != nil {
			return err
		}
		p = newPage(l, rows, f.Limit)
		return nil
	})
	if errors.Is(err, db.ErrNoRows) {
		return Page{}, ErrNotFound
	}
	return p, err
}

// listPosition is a place in a list of keys: directly after the key with this time and kid.
type listPosition struct {
	createdAt time.Time
	kid       string
}

// readKeys reads a page and one more key by the query that has an index for the filter.
func readKeys(ctx context.Context, q *db.Queries, tenantID uuid.UUID, f Filter, after listPosition) ([]db.ListKeysRow, error) {
	state, alg, size := string(f.State), string(f.Alg), int32(f.Limit+1)
	switch {
	case !f.ValidAt.IsZero():
		rows, err := q.ListKeysValidAt(ctx, db.ListKeysValidAtParams{
			TenantID: tenantID, ValidAt: f.ValidAt, State: state, Alg: alg, BeforeCreatedAt: after.createdAt, BeforeKID: after.kid, PageSize: size,
		})
		return listRows(rows), err
	case f.State != "" && f.State != keys.Purged:
		rows, err := q.ListKeysInState(ctx, db.ListKeysInStateParams{
			TenantID: tenantID, State: state, Alg: alg, BeforeCreatedAt: after.createdAt, BeforeKID: after.kid, PageSize: size,
		})
		return listRows(rows), err
	}
	return q.ListKeys(ctx, db.ListKeysParams{
		TenantID: tenantID, State: state, Alg: alg, BeforeCreatedAt: after.createdAt, BeforeKID: after.kid, PageSize: size,
	})
}

// listRows converts the rows of any query for a list.
func listRows[R db.ListKeysInStateRow | db.ListKeysValidAtRow](rows []R) []db.ListKeysRow {
	out := make([]db.ListKeysRow, len(rows))
	for i, row := range rows {
		out[i] = db.ListKeysRow(row)
	}
	return out
}

// readPublished returns a ledger, which is never written, with the tenant's policies and
// published keys: all that the schedule of its keys depends on. A tenant may have thousands
// of others. Errors: db.ErrNoRows, tenant.ErrForged.
func (s *Store) readPublished(ctx context.Context, tx *db.Tx, tenantID uuid.UUID) (*ledger, error) {
	row, err := tx.GetTenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	policies, err := tx.ListPoliciesOfTenants(ctx, []uuid.UUID{tenantID})
	if err != nil {
		return nil, err
	}
	published, err := tx.PublishedKeysOfTenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	l := s.newLedger(tenant.TenantRow(row), audit.By{}, s.currentTime())
	for _, p := range policies {
		l.addPolicyRow(p)
	}
	for _, k := range published {
		l.addKeyRow(db.UnpurgedKeysOfTenantsRow(k))
	}
	return l, l.refused
}

// Overview is what signs for one tenant: its live policies, the default one first, and its
// published keys, newest first. The keys have no PublicJWK.
type Overview struct {
	TenantID  uuid.UUID
	Policies  []tenant.Policy
	Published []Entry
	Refused   error // tenant.ErrForged; then there is nothing else
}

// Overviews returns those of the live ones among some tenants, in no order. However many
// tenants there are, it takes three statements; Policies and List of [Store] and
// [tenant.Store] say the same of each. Errors: ErrUnavailable.
func (s *Store) Overviews(ctx context.Context, tenants []uuid.UUID) (out []Overview, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		ledgers, err := s.readOverviews(ctx, tx, tenants)
		if err != nil {
			return err
		}
		out = nil // the transaction may run twice
		for _, l := range ledgers {
			if l.tenant.Status != tenant.Deleted {
				out = append(out, l.overview())
			}
		}
		return nil
	})
	return out, err
}

// Holders returns the live tenants that publish a key with a kid, limit at most. Callers must
// allow it only to the platform. Errors: ErrUnavailable.
func (s *Store) Holders(ctx context.Context, kid string, limit int) (tenants []uuid.UUID, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		tenants, err = tx.TenantsWithPublishedKey(ctx, audit.StorableText(kid), int32(limit))
		return err
	})
	return tenants, err
}

// readOverviews is readPublished for several tenants. A tenant that is refused is returned
// with the reason.
func (s *Store) readOverviews(ctx context.Context, tx *db.Tx, tenants []uuid.UUID) (map[uuid.UUID]*ledger, error) {
	rows, err := tx.GetTenants(ctx, tenants)
	if err != nil {
		return nil, err
	}
	policies, err := tx.ListPoliciesOfTenants(ctx, tenants)
	if err != nil {
		return nil, err
	}
	published, err := tx.PublishedKeysOfTenants(ctx, tenants)
	if err != nil {
		return nil, err
	}
	ledgers := make(map[uuid.UUID]*ledger, len(rows))
	for _, row := range rows {
		ledgers[row.ID] = s.newLedger(tenant.TenantRow(row), audit.By{}, s.currentTime())
	}
	for _, p := range policies {
		if l := ledgers[p.TenantID]; l != nil {
			l.addPolicyRow(p)
		}
	}
	for _, k := range published {
		if l := ledgers[k.TenantID]; l != nil {
			l.addKeyRow(withoutJWK(k))
		}
	}
	return ledgers, nil
}

func withoutJWK(k db.PublishedKeysOfTenantsRow) db.UnpurgedKeysOfTenantsRow {
	return db.UnpurgedKeysOfTenantsRow{
		TenantID: k.TenantID, KID: k.KID, Alg: k.Alg, Algs: k.Algs, State: k.State, Origin: k.Origin, CreatedAt: k.CreatedAt, PublishedAt: k.PublishedAt,
		ActivatedAt: k.ActivatedAt, Activation: k.Activation, DeprecatedAt: k.DeprecatedAt, TokenHorizon: k.TokenHorizon, ExpiresAt: k.ExpiresAt,
		ExpiredAt: k.ExpiredAt, RevokedAt: k.RevokedAt, RevocationReason: k.RevocationReason, PurgedAt: k.PurgedAt,
		LastSignedAt: k.LastSignedAt, LastTokenExpiresAt: k.LastTokenExpiresAt,
	}
}

func (l *ledger) overview() Overview {
	if l.refused != nil {
		return Overview{TenantID: l.tenant.ID, Refused: l.refused}
	}
	o := Overview{TenantID: l.tenant.ID, Policies: l.livePolicies()}
	slices.SortFunc(o.Policies, func(a, b tenant.Policy) int {
		switch {
		case a.Default != b.Default && a.Default:
			return -1
		case a.Default != b.Default:
			return 1
		}
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Alg, b.Alg))
	})
	for _, k := range l.keys {
		o.Published = append(o.Published, l.entryOf(k))
	}
	return o
}

func newPage(l *ledger, rows []db.ListKeysRow, limit int) (p Page) {
	for _, row := range rows[:min(len(rows), limit)] {
		p.Items = append(p.Items, l.entryOf(snapshot.KeyRow(row).Key()))
	}
	if len(rows) > limit {
		last := p.Items[limit-1]
		p.Next = formatCursor(last.CreatedAt, last.KID)
	}
	return p
}

func formatCursor(at time.Time, kid string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixMicro(), 10) + " " + kid))
}

// parseCursor returns the position after which a page begins; an empty cursor is before
// the newest key. Errors: keys.ErrBadCursor.
func parseCursor(cursor string) (listPosition, error) {
	if cursor == "" {
		return listPosition{createdAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return listPosition{}, keys.ErrBadCursor
	}
	micros, kid, _ := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || !keys.ValidKID(kid) || n < 0 || n > 1e17 {
		return listPosition{}, keys.ErrBadCursor
	}
	return listPosition{time.UnixMicro(n).UTC(), kid}, nil
}

// Get returns one key, even a purged one. Errors: ErrNotFound.
func (s *Store) Get(ctx context.Context, tenantID uuid.UUID, kid string) (keys.Key, error) {
	var row db.GetKeyRow
	err := s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetKey(ctx, tenantID, kid)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return keys.Key{}, ErrNotFound
	}
	return snapshot.KeyRow(row).Key(), err
}

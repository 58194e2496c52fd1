package moves

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
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

// Find returns one key with its future transitions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Find(ctx context.Context, tenantID uuid.UUID, kid string) (Entry, error) {
	k, err := s.Get(ctx, tenantID, kid)
	if err != nil {
		return Entry{}, err
	}
	l, err := s.readTenant(ctx, tenantID)
	if err != nil {
		return Entry{}, err
	}
	return l.entryOf(k), nil
}

// List returns a page of a tenant's keys. Errors: keys.ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, tenantID uuid.UUID, f Filter) (Page, error) {
	at, kid, err := parseCursor(f.Cursor)
	if err != nil {
		return Page{}, err
	}
	if f.ValidAt.Equal(db.Epoch) { // the query's value for "all"
		f.ValidAt = f.ValidAt.Add(-time.Microsecond)
	}
	var rows []db.ListKeysRow
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		rows, err = tx.ListKeys(ctx, db.ListKeysParams{
			TenantID: tenantID, State: string(f.State), Alg: string(f.Alg), ValidAt: db.OrEpoch(&f.ValidAt),
			BeforeCreatedAt: at, BeforeKID: kid, PageSize: int32(f.Limit + 1),
		})
		return err
	})
	if err != nil {
		return Page{}, err
	}
	l, err := s.readTenant(ctx, tenantID)
	if err != nil {
		return Page{}, err
	}
	return newPage(l, rows, f.Limit), nil
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
func parseCursor(cursor string) (time.Time, string, error) {
	if cursor == "" {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return time.Time{}, "", keys.ErrBadCursor
	}
	micros, kid, _ := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || !keys.ValidKID(kid) || n < 0 || n > 1e17 {
		return time.Time{}, "", keys.ErrBadCursor
	}
	return time.UnixMicro(n).UTC(), kid, nil
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

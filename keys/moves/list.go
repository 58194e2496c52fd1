package moves

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
)

// Entry is a key and what is known of its future.
type Entry struct {
	keys.Key
	NextTransitionAt *time.Time // when the schedule moves it next; nil: never
	SafeToRetireAt   *time.Time // when no token it signed can live any more; nil: unknown or gone
}

// Filter chooses keys. The zero value chooses all.
type Filter struct {
	State   keys.State
	Alg     jose.SignatureAlgorithm
	ValidAt time.Time // published at that time
	Limit   int       // 1 to 500
	Cursor  string    // a Page's Next
}

// Page is a part of a list, newest key first.
type Page struct {
	Items []Entry
	Next  string // empty on the last page
}

// Find returns one key with its future. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Find(ctx context.Context, tenantID uuid.UUID, kid string) (Entry, error) {
	k, err := s.Get(ctx, tenantID, kid)
	if err != nil {
		return Entry{}, err
	}
	l, err := s.look(ctx, tenantID)
	if err != nil {
		return Entry{}, err
	}
	return l.entry(k), nil
}

// List returns a page of a tenant's keys. Errors: keys.ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, tenantID uuid.UUID, f Filter) (Page, error) {
	at, kid, err := parseCursor(f.Cursor)
	if err != nil {
		return Page{}, err
	}
	if f.ValidAt.Equal(db.Epoch) { // which asks the query for all
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
	l, err := s.look(ctx, tenantID)
	if err != nil {
		return Page{}, err
	}
	return page(l, rows, f.Limit), nil
}

func page(l *ledger, rows []db.ListKeysRow, limit int) (p Page) {
	for _, row := range rows[:min(len(rows), limit)] {
		p.Items = append(p.Items, l.entry(snapshot.KeyRow(row).Key()))
	}
	if len(rows) > limit {
		last := p.Items[limit-1]
		p.Next = cursorAfter(last.CreatedAt, last.KID)
	}
	return p
}

// look reads a tenant as it is, to say what will become of its keys.
func (s *Store) look(ctx context.Context, tenantID uuid.UUID) (*ledger, error) {
	ledgers, err := s.peek(ctx, audit.By{}, s.now(), []uuid.UUID{tenantID})
	if err != nil {
		return nil, err
	}
	if len(ledgers) == 0 {
		return nil, ErrNotFound
	}
	return ledgers[0], nil
}

// entry adds what the policy's schedule says about a key.
func (l *ledger) entry(k keys.Key) Entry {
	for _, p := range l.policies {
		if p.Alg == k.Alg {
			s := l.schedule(p)
			return Entry{Key: k, NextTransitionAt: s.NextTransition(l.at, k, l.of(k.Alg)), SafeToRetireAt: s.SafeToRetireAt(k)}
		}
	}
	return Entry{Key: k}
}

func cursorAfter(at time.Time, kid string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixMicro(), 10) + " " + kid))
}

// parseCursor gives the place after which a page begins; none is after
// everything.
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

package snapshot

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// Published is what a gateway has to know of a tenant: its latest state.
type Published struct {
	TenantID  uuid.UUID
	Slug      string
	OwnIssuer string // empty: the public URL and the slug make it
	Deleted   bool
	NotBefore *time.Time
	Version   int64           // the seq of the tenant's last audit event
	JWKS      json.RawMessage // the JWK Set, byte for byte as it is served
}

// FleetPage is a stretch of the fleet.
type FleetPage struct {
	Items []Published
	Next  string // where to go on, always
	// Held says that changes have been committed that must wait for a
	// transaction that began before.
	Held bool
}

// Fleet returns the tenants whose keys or settings changed behind a cursor, each
// once and as it is now; without one, all from the beginning. Who goes on from
// Next misses no change, however transactions overlap: a change is told only when
// no earlier one can still commit. A first round costs as many pages as there are
// tenants, a later one what has changed. Errors: keys.ErrBadCursor, moves.ErrUnavailable.
func (s *Cache) Fleet(ctx context.Context, after string, limit int) (p FleetPage, err error) {
	at, err := parseFleetPlace(after)
	if err != nil {
		return FleetPage{}, err
	}
	var rows []db.FleetRow
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		bounds, err := tx.FeedBounds(ctx)
		if err != nil {
			return err
		}
		if at.xid > bounds.Unused { // the database is older than the cursor
			return keys.ErrBadCursor
		}
		rows, err = tx.Fleet(ctx, at.xid, at.tenantID, int32(limit))
		return err
	})
	if err != nil {
		return FleetPage{}, err
	}
	for _, r := range rows {
		if p.Held = !r.Settled; p.Held {
			break
		}
		at = fleetPlace{r.FeedXID, r.ID}
		p.Items = append(p.Items, publishedRow(r))
	}
	p.Next = at.cursor()
	return p, nil
}

func publishedRow(r db.FleetRow) Published {
	return Published{
		TenantID: r.ID, Slug: r.Slug, OwnIssuer: db.ZeroIfNull(r.Issuer), Deleted: r.Status == string(tenant.Deleted),
		NotBefore: r.NotBefore, Version: r.AuditSeq, JWKS: json.RawMessage(`{"keys":[` + r.JWKS + `]}`),
	}
}

// fleetPlace is behind a tenant, in the order of their last changes.
type fleetPlace struct {
	xid      uint64
	tenantID uuid.UUID
}

// A cursor is base64url (RFC 4648 section 5) of a version, 1 byte ‖ xid, 8 ‖
// tenant id, 16.
const fleetVersion, fleetPlaceSize = 1, 1 + 8 + 16

func (p fleetPlace) cursor() string {
	b := binary.BigEndian.AppendUint64([]byte{fleetVersion}, p.xid)
	return base64.RawURLEncoding.EncodeToString(append(b, p.tenantID[:]...))
}

func parseFleetPlace(cursor string) (fleetPlace, error) {
	if cursor == "" {
		return fleetPlace{}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != fleetPlaceSize || b[0] != fleetVersion || binary.BigEndian.Uint64(b[1:9]) > math.MaxInt64 {
		return fleetPlace{}, keys.ErrBadCursor
	}
	return fleetPlace{binary.BigEndian.Uint64(b[1:9]), uuid.UUID(b[9:])}, nil
}

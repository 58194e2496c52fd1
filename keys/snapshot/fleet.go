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

// Published is the latest state of one tenant, as a gateway needs it.
type Published struct {
	TenantID  uuid.UUID
	Slug      string
	OwnIssuer string // empty: derived from the public URL and the slug
	Deleted   bool
	NotBefore *time.Time
	Version   int64           // the seq of the tenant's last audit event
	JWKS      json.RawMessage // the JWK Set, byte for byte as it is served
}

// FleetPage is one page of the fleet feed.
type FleetPage struct {
	Items []Published
	Next  string // the next cursor, never empty
	// Held is set if committed changes are withheld until an earlier
	// transaction ends.
	Held bool
}

// Fleet returns the tenants whose keys or settings changed after a cursor, each once and
// in its latest state; without a cursor it returns all tenants from the beginning. A
// caller that continues from Next misses no change, however transactions overlap: a
// change is returned only when no earlier one can still commit. The first pass reads
// every tenant, a later one only the changes. Errors: keys.ErrBadCursor,
// db.ErrUnavailable.
func (s *Cache) Fleet(ctx context.Context, after string, limit int) (p FleetPage, err error) {
	at, err := parseFleetCursor(after)
	if err != nil {
		return FleetPage{}, err
	}
	var rows []db.FleetRow
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		bounds, err := tx.FeedBounds(ctx)
		if err != nil {
			return err
		}
		epoch, err := tx.CurrentEpoch(ctx)
		if err != nil {
			return err
		}
		if after != "" && at.epoch != epoch || at.xid > bounds.Unused { // the database is older than the cursor
			return keys.ErrBadCursor
		}
		at.epoch = epoch
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
		at.xid, at.tenantID = r.FeedXID, r.ID
		p.Items = append(p.Items, publishedFromRow(r))
	}
	p.Next = at.encodeCursor()
	return p, nil
}

func publishedFromRow(r db.FleetRow) Published {
	return Published{
		TenantID: r.ID, Slug: r.Slug, OwnIssuer: db.ZeroIfNull(r.Issuer), Deleted: r.Status == string(tenant.Deleted),
		NotBefore: r.NotBefore, Version: r.AuditSeq, JWKS: json.RawMessage(`{"keys":[` + r.JWKS + `]}`),
	}
}

// fleetPosition is the position after a tenant in the feed, which is ordered by each
// tenant's last change.
type fleetPosition struct {
	epoch    int64 // counts the recoveries of the database
	xid      uint64
	tenantID uuid.UUID
}

// A cursor is base64url (RFC 4648 section 5) of a version (1 byte), the epoch (8 bytes),
// the xid (8 bytes) and the tenant id (16 bytes).
const fleetCursorVersion, fleetCursorSize = 2, 1 + 8 + 8 + 16

func (p fleetPosition) encodeCursor() string {
	b := binary.BigEndian.AppendUint64([]byte{fleetCursorVersion}, uint64(p.epoch))
	b = binary.BigEndian.AppendUint64(b, p.xid)
	return base64.RawURLEncoding.EncodeToString(append(b, p.tenantID[:]...))
}

func parseFleetCursor(cursor string) (fleetPosition, error) {
	if cursor == "" {
		return fleetPosition{}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != fleetCursorSize || b[0] != fleetCursorVersion || binary.BigEndian.Uint64(b[9:17]) > math.MaxInt64 {
		return fleetPosition{}, keys.ErrBadCursor
	}
	return fleetPosition{int64(binary.BigEndian.Uint64(b[1:9])), binary.BigEndian.Uint64(b[9:17]), uuid.UUID(b[17:])}, nil
}

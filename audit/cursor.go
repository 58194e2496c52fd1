package audit

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// position is a place in a list: directly after an event.
type position struct {
	At       time.Time
	TenantID uuid.UUID
	Seq      int64
}

// A cursor is base64url (RFC 4648 section 5) of
//
//	at in microseconds, 8 bytes ‖ tenant id, 16 ‖ seq, 8 ‖ check, 8
//
// check is the start of a SHA-256 over the rest and the filter, so that a cursor
// that was changed, or is used with another filter, is refused and not answered
// with the wrong events. It is no secret and protects nothing else; row level
// security does.
const (
	positionSize = 8 + 16 + 8
	cursorSize   = positionSize + 8
)

func (f Filter) cursor(p position) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.At.UnixMicro()))
	b = append(b, p.TenantID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Seq))
	return base64.RawURLEncoding.EncodeToString(append(b, f.checksum(b)...))
}

// position decodes the filter's cursor. Errors: ErrBadCursor.
func (f Filter) position() (position, error) {
	if f.Cursor == "" {
		return f.start(), nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(f.Cursor)
	if err != nil || len(b) != cursorSize || subtle.ConstantTimeCompare(f.checksum(b[:positionSize]), b[positionSize:]) != 1 {
		return position{}, ErrBadCursor
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if at.Before(beginning) || at.After(end) { // no time of PostgreSQL
		return position{}, ErrBadCursor
	}
	return position{
		At:       at,
		TenantID: uuid.UUID(b[8:24]),
		Seq:      int64(binary.BigEndian.Uint64(b[24:32])),
	}, nil
}

// checksum binds a position to the filter's conditions. The page size may change.
func (f Filter) checksum(position []byte) []byte {
	f.Limit, f.Cursor = 0, ""
	chosen, _ := json.Marshal(f) // texts, times and an id always have a JSON form
	sum := sha256.Sum256(append(append([]byte("keyward audit cursor v1"), position...), chosen...))
	return sum[:8]
}

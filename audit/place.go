package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"
)

// place is a place in a feed: directly after an event. In a tenant's feed xid is 0.
type place struct {
	xid      uint64
	tenantID uuid.UUID
	seq      int64
}

const placeSize = 8 + 16 + 8

// position encodes the place: base64url (RFC 4648 section 5) of
//
//	xid, 8 bytes ‖ tenant id, 16 ‖ seq, 8 ‖ check, 8
//
// As in a cursor the check is no secret. It makes a position that was cut short, that
// belongs to another feed, or that was given before the database was restored (epoch
// counts its recoveries), an error instead of the wrong events.
func (p place) position(scope uuid.UUID, epoch int64) string {
	b := binary.BigEndian.AppendUint64(nil, p.xid)
	b = append(b, p.tenantID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.seq))
	return base64.RawURLEncoding.EncodeToString(append(b, placeCheck(scope, epoch, b)...))
}

// parsePlace decodes a position of the feed of scope and epoch. Errors: ErrBadPosition.
func parsePlace(scope uuid.UUID, epoch int64, position string) (place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(position)
	if err != nil || len(b) != placeSize+8 || subtle.ConstantTimeCompare(placeCheck(scope, epoch, b[:placeSize]), b[placeSize:]) != 1 {
		return place{}, ErrBadPosition
	}
	return place{binary.BigEndian.Uint64(b), uuid.UUID(b[8:24]), int64(binary.BigEndian.Uint64(b[24:placeSize]))}, nil
}

func placeCheck(scope uuid.UUID, epoch int64, place []byte) []byte {
	b := append([]byte("keyward event position v1"), scope[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(epoch))
	sum := sha256.Sum256(append(b, place...))
	return sum[:8]
}

// beyond reports whether p is later in the feed than q.
func (p place) beyond(q place) bool {
	return cmp.Or(cmp.Compare(p.xid, q.xid), bytes.Compare(p.tenantID[:], q.tenantID[:]), cmp.Compare(p.seq, q.seq)) > 0
}

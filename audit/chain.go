package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// purpose separates these hashes from every other use of SHA-256. A new layout
// needs a new purpose.
const purpose = "keyward audit event v1"

// Head is the end of a tenant's chain.
type Head struct {
	TenantID uuid.UUID
	Seq      int64
	Hash     []byte // 32 bytes

	// LastAt is the time of the last event; zero if there is none or it was not read.
	LastAt time.Time
}

// TimeOfEffect returns the time of a change that continues the chain: now in UTC, cut to
// microseconds, and not before the last event, because the clocks of two processes
// differ. now must be read while the tenant's row is locked, by each attempt of the
// transaction: the database refuses a time that lies more than 5 s back at the commit.
func (h Head) TimeOfEffect(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if h.LastAt.After(now) {
		return h.LastAt.UTC()
	}
	return now
}

// Genesis returns the head of a chain without events.
func Genesis(tenantID uuid.UUID) Head {
	return Head{TenantID: tenantID, Hash: make([]byte, sha256.Size)}
}

// Chain continues the chain at head with events, in their order, and returns
// the new head and the events as they are to be stored. The hash of an event is
//
//	SHA-256( F(purpose) ‖ F(tenant_id) ‖ F(seq) ‖ F(at) ‖ F(action)
//	       ‖ F(actor.type) ‖ F(actor.id) ‖ F(actor.name) ‖ F(kid)
//	       ‖ F(from_state) ‖ F(to_state) ‖ F(reason) ‖ F(request_id)
//	       ‖ F(details) ‖ prev_hash )
//
//	F(x)       the length of x in bytes as 4 bytes, big-endian, then x
//	purpose    the text "keyward audit event v1"
//	tenant_id  its 16 bytes (RFC 9562 section 4)
//	seq, at    8 bytes, big-endian; at in microseconds since 1970-01-01 UTC
//	details    the bytes of the JSON object exactly as stored
//	others     UTF-8, empty where absent
//	prev_hash  the 32 bytes of the event before; zeros for seq 1
//
// PostgreSQL cannot keep a NUL or broken UTF-8 in a text, so both are replaced
// by U+FFFD before hashing. Times are cut to microseconds.
func Chain(head Head, events []Event) (Head, []Event) {
	chained := make([]Event, 0, len(events))
	for _, e := range events {
		e = storableEvent(e)
		e.TenantID, e.Seq, e.PrevHash = head.TenantID, head.Seq+1, slices.Clone(head.Hash)
		e.Hash = eventHash(e)
		head = Head{TenantID: head.TenantID, Seq: e.Seq, Hash: e.Hash, LastAt: e.At}
		chained = append(chained, e)
	}
	return head, chained
}

// storableEvent returns e as PostgreSQL will return it.
func storableEvent(e Event) Event {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	for _, s := range []*string{
		(*string)(&e.Action), (*string)(&e.Actor.Type), &e.Actor.ID, &e.Actor.Name,
		&e.KID, &e.FromState, &e.ToState, &e.Reason, &e.RequestID,
	} {
		*s = StorableText(*s)
	}
	if e.Details == nil {
		e.Details = json.RawMessage("{}")
	}
	e.Details = json.RawMessage(StorableText(string(e.Details)))
	return e
}

// StorableText returns s as PostgreSQL can store it: broken UTF-8 and NUL are
// replaced by U+FFFD.
func StorableText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// eventHash returns the hash of an event that follows e.PrevHash.
func eventHash(e Event) []byte {
	var b []byte
	field := func(x []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(x)))
		b = append(b, x...)
	}
	field([]byte(purpose))
	field(e.TenantID[:])
	field(binary.BigEndian.AppendUint64(nil, uint64(e.Seq)))
	field(binary.BigEndian.AppendUint64(nil, uint64(e.At.UnixMicro())))
	for _, s := range []string{
		string(e.Action), string(e.Actor.Type), e.Actor.ID, e.Actor.Name,
		e.KID, e.FromState, e.ToState, e.Reason, e.RequestID,
	} {
		field([]byte(s))
	}
	field(e.Details)
	sum := sha256.Sum256(append(b, e.PrevHash...))
	return sum[:]
}

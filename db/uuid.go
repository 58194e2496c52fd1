package db

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// registerUUIDs makes a connection encode a uuid.UUID as its 16 bytes. By default
// pgx formats it as text and parses that again: with arrays of ids, a quarter of the
// cost of a batch of the worker.
func registerUUIDs(conn *pgx.Conn) {
	m := conn.TypeMap()
	m.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapUUID}, m.TryWrapEncodePlanFuncs...)
}

func wrapUUID(value any) (pgtype.WrappedEncodePlanNextSetter, any, bool) {
	id, ok := value.(uuid.UUID)
	return new(uuidPlan), uuidBytes(id), ok
}

// uuidPlan converts a uuid.UUID to uuidBytes and encodes it with next.
type uuidPlan struct{ next pgtype.EncodePlan }

func (p *uuidPlan) SetNext(next pgtype.EncodePlan) { p.next = next }

func (p *uuidPlan) Encode(value any, buf []byte) ([]byte, error) {
	return p.next.Encode(uuidBytes(value.(uuid.UUID)), buf)
}

// uuidBytes is a uuid.UUID with pgx's interface for UUIDs.
type uuidBytes [16]byte

func (b uuidBytes) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: b, Valid: true}, nil }

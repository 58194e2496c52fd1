package seal

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// format is the version of every layout in this package. It stands in the
// associated data, so that a later format never opens as this one.
const format = 1

// A purpose is what a ciphertext is for. Two purposes never share associated
// data, whatever their fields, so a ciphertext stays in its column.
type purpose string

const (
	forDataKey     purpose = "keyward data key"
	forPrivateKey  purpose = "keyward private key"
	forKeyCheck    purpose = "keyward key check"
	forEndorsement purpose = "keyward endorsement"
	forAuthority   purpose = "keyward authority key"
)

// bindFields returns the associated data of one ciphertext:
//
//	field(purpose) ‖ field(format) ‖ field(1) ‖ field(2) ‖ …
//
//	field(x) = length of x in bytes, uint32 big-endian ‖ x
//
// The lengths make it injective: different fields, or the same bytes cut
// differently into fields, give different associated data.
func (p purpose) bindFields(fields ...[]byte) []byte {
	ad := appendField(nil, []byte(p))
	ad = appendField(ad, []byte{format})
	for _, f := range fields {
		ad = appendField(ad, f)
	}
	return ad
}

func appendField(ad, field []byte) []byte {
	ad = binary.BigEndian.AppendUint32(ad, uint32(len(field)))
	return append(ad, field...)
}

func dataKeyAD(tenantID uuid.UUID, version int32) []byte {
	return forDataKey.bindFields(tenantID[:], appendNumber(version))
}

func privateKeyAD(tenantID uuid.UUID, version int32, kid string) []byte {
	return forPrivateKey.bindFields(tenantID[:], appendNumber(version), []byte(kid))
}

func keyCheckAD(id uuid.UUID) []byte { return forKeyCheck.bindFields(id[:]) }

func endorsementAD(s Successor) []byte {
	return forEndorsement.bindFields(s.ID[:], []byte(s.URI), []byte(s.Version))
}

func appendNumber(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func authorityKeyAD(id uuid.UUID) []byte { return forAuthority.bindFields(id[:]) }

package httpapi

import "encoding/json"

// JWK is a public key as the database holds it (RFC 7517); it passes through
// unchanged.
type JWK = json.RawMessage

// JSONObject is an object whose members are the caller's own, such as the
// claims of a token. It stays as it came, so that no number loses a digit.
type JSONObject json.RawMessage

// MarshalJSON answers the bytes, {} if there are none.
func (o JSONObject) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the bytes; that they are an object, checkJSON has seen.
func (o *JSONObject) UnmarshalJSON(data []byte) error {
	*o = append((*o)[:0], data...)
	return nil
}

// CreatePolicyRequest is a [PutPolicyRequest] whose Alg is set.
type CreatePolicyRequest = PutPolicyRequest

// Deferred is a part of a body that its reader decodes later by itself with
// decodeStrict, so that its faults are its own and not the whole body's.
type Deferred json.RawMessage

// UnmarshalJSON keeps the bytes.
func (d *Deferred) UnmarshalJSON(data []byte) error {
	*d = append((*d)[:0], data...)
	return nil
}

package client

import "encoding/json"

// JWK is a public key (RFC 7517) as the server sent it.
type JWK = json.RawMessage

// KeyMaterial is PEM in a JSON string, or a JWK or JWK Set. It may be secret.
type KeyMaterial = json.RawMessage

// JSONObject is an object whose members are the caller's own, such as the
// claims of a token. It stays as it came, so that no number loses a digit.
type JSONObject = json.RawMessage

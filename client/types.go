package client

import "encoding/json"

// JWK is a public key (RFC 7517) as the server sent it.
type JWK = json.RawMessage

// KeyMaterial is PEM in a JSON string, or a JWK or JWK Set. It may be secret.
type KeyMaterial = json.RawMessage

// JSONObject is an object with members of the caller's choice, such as the claims
// of a token. It is kept as received, so that no number loses a digit.
type JSONObject = json.RawMessage

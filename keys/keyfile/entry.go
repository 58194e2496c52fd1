package keyfile

import (
	"encoding/json"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys/tokens"
)

// Entry is what a JWK says of itself, as the parsers of this package read it: members by
// their exact names, each at most once, without those that say nothing.
type Entry struct {
	Labels
	KID             string
	N, E, X, Y, Pub string // of the public key, in base64url
	Private         bool   // it has the private half of a key pair
}

// ReadEntry reads a JWK without a look at its numbers. With an error it returns what it
// could read. Errors: [*tokens.ClaimError], without key material.
func ReadEntry(raw []byte) (Entry, error) {
	members, err := strictjson.ParseObject(raw)
	if err != nil {
		return Entry{}, tokens.Invalid(FieldPublic, err.Error())
	}
	j := &foreignJWK{field: FieldPublic, members: members}
	e := Entry{KID: j.text("kid"), Labels: j.labels(), Private: j.privateMember() != ""}
	e.N, e.E, e.X, e.Y, e.Pub = j.text("n"), j.text("e"), j.text("x"), j.text("y"), j.text("pub")
	j.checkPrimes()
	return e, j.err
}

// Entries returns the JWKs of a JWK Set, or the one JWK that a file has. Errors:
// [*tokens.ClaimError], without key material.
func Entries(file []byte) (entries []json.RawMessage, err error) {
	file = Text(file)
	members, err := strictjson.ParseObject(file)
	if err != nil {
		return nil, tokens.Invalid(FieldPublic, err.Error())
	}
	list, isSet := members["keys"]
	if !isSet {
		return []json.RawMessage{file}, nil
	}
	if err := json.Unmarshal(list, &entries); err != nil || entries == nil {
		return nil, tokens.Invalid(FieldPublic+".keys", "must be an array of JWKs")
	}
	return entries, nil
}

// WithoutSharedSecrets returns a file of JWKs without the member k, which holds the secret
// of an oct key. The parsers judge such a key by its other members. Errors: those of
// [Entries].
func WithoutSharedSecrets(file []byte) ([]byte, error) {
	entries, err := Entries(file)
	if err != nil {
		return nil, err
	}
	found := false
	for i, raw := range entries {
		members, err := strictjson.ParseObject(raw)
		if _, set := members["k"]; err != nil || !set {
			continue
		}
		delete(members, "k")
		if entries[i], err = json.Marshal(members); err != nil {
			return nil, err
		}
		found = true
	}
	if !found {
		return file, nil
	}
	members, err := strictjson.ParseObject(Text(file))
	if _, isSet := members["keys"]; err != nil || !isSet {
		return entries[0], err
	}
	return json.Marshal(map[string]any{"keys": entries})
}

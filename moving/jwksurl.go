package moving

import "context"

// JWKS reads the JWK Set published by any issuer, as keys to verify with. It
// discards private members and adds a note, since a published private key is
// compromised.
func JWKS(ctx context.Context, address string, s Settings) ([]Key, error) {
	text, err := fetchDocument(ctx, address, maxRedirects)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	keys, err := parseSet(text, s, func(bool) string { return "published" })
	for i := range keys {
		if keys[i].Private != nil {
			clear(keys[i].Private)
			keys[i].Private, keys[i].Note = nil, joinNotes(keys[i].Note, "ITS PRIVATE KEY IS PUBLISHED THERE")
		}
	}
	return keys, err
}

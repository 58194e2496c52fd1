package moving

import "context"

// JWKS reads the JWK Set that any issuer publishes. Its keys verify; should
// private ones be published, they are treated as what they are by now: public.
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
			keys[i].Private, keys[i].Note = nil, joinNotes(keys[i].Note, "ITS PRIVATE HALF IS PUBLISHED THERE")
		}
	}
	return keys, err
}

package moving

import "context"

// Hydra reads a key set of Ory Hydra, as GET /admin/keys/{set} returns it, from
// a file or from the admin API: a JWK Set with private members, newest key
// first. Hydra signs with the newest.
func Hydra(ctx context.Context, source string, s Settings) (keys []Key, err error) {
	var text []byte
	if isURL(source) {
		text, err = fetchDocument(ctx, source, 0)
	} else {
		text, err = readFile(source)
	}
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return parseSet(text, s, privateOrPublic)
}

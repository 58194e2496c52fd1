package moving

import (
	"context"
	"strings"
)

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
	if keys, err = parseSet(text, s, privateOrPublic); err != nil {
		return nil, err
	}
	for i := range keys {
		keys[i].joinPair()
	}
	return keys, nil
}

// joinPair renames the private half of a pair of Hydra 1: it has each key as private:x
// and as public:x, and its tokens name the latter.
func (k *Key) joinPair() {
	if name, half := strings.CutPrefix(k.KID, "private:"); half && k.Private != nil {
		k.KID, k.Note = "public:"+name, joinNotes(k.Note, "tokens name its public half, so it takes that kid")
	}
}

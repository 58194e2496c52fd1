package moving

import "slices"

// NodeJose reads what node-jose's keystore.toJSON(true) wrote: a JWK Set with
// private members, the newest key last. The newest is taken for the one that
// signs; the file does not say it.
func NodeJose(path string, s Settings) ([]Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	keys, err := parseSet(text, s, privateOrPublic)
	slices.Reverse(keys)
	return keys, err
}

// privateOrPublic is the state of a key in a file that says nothing else.
func privateOrPublic(private bool) string {
	if private {
		return "private"
	}
	return "public"
}

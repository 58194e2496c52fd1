package moving

import "slices"

// NodeJose reads a file written by node-jose's keystore.toJSON(true): a JWK Set
// with private members, newest key last. It assumes that the newest signs,
// since the file does not say.
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

// privateOrPublic returns the state of a key in a file without states.
func privateOrPublic(private bool) string {
	if private {
		return "private"
	}
	return "public"
}

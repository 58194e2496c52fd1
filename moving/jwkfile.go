package moving

// JWKFile reads a JWK or JWK Set from a file, with private members or without: what
// Nimbus, and with it Spring Authorization Server, and others store. The first private
// key of an algorithm signs. Of a file that came from Hydra 1 pairs become one key.
func JWKFile(path string, s Settings) ([]Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	keys, err := parseSet(text, s, privateOrPublic)
	joinPairs(keys)
	return keys, err
}

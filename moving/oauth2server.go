package moving

import "cmp"

// OAuth2Server reads the key of @jmondi/oauth2-server: one RSA private key in
// PEM for RS256, with its thumbprint (RFC 7638) as kid.
func OAuth2Server(path string, s Settings) ([]Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	k, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	k.State = "the only key"
	k.KID = k.Public.Thumbprint()
	if k.Public.Kty == "RSA" {
		s.Alg = cmp.Or(s.Alg, "RS256")
	}
	k.chooseAlgorithm(s)
	return []Key{k}, nil
}

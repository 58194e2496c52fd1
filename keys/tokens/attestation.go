package tokens

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keyward/keyward/keys"
)

// VerifyAttestation verifies a compact JWS of the given typ with the key of a
// JWK Set that its header names, and returns its payload.
func VerifyAttestation(jws, typ string, set []byte) ([]byte, error) {
	u, err := parseToken(jws)
	if err != nil {
		return nil, err
	}
	if mediaType(u.typ) != mediaType(typ) {
		return nil, fmt.Errorf("its typ is not %s", typ)
	}
	jwk, err := u.attestationKey(set)
	if err != nil {
		return nil, err
	}
	public, err := keys.ParsePublicJWK(u.alg, jwk)
	if err != nil {
		return nil, err
	}
	if !keys.VerifySignature(public, u.alg, u.signed, u.signature) {
		return nil, errors.New("its signature is wrong")
	}
	return u.payload, nil
}

// attestationKey returns the JWK of the set that the header names. It refuses a
// key that the set marks as revoked, because its thief may have signed the
// token.
func (u *unverified) attestationKey(set []byte) (jwk json.RawMessage, err error) {
	var all struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(set, &all); err != nil || all.Keys == nil {
		return nil, errors.New("the given keys are not a JWK Set")
	}
	for _, raw := range all.Keys {
		var k struct {
			KID     string          `json:"kid"`
			Alg     string          `json:"alg"`
			Revoked json.RawMessage `json:"revoked"`
		}
		switch err := json.Unmarshal(raw, &k); {
		case err != nil || k.KID != u.kid:
		case k.Revoked != nil:
			return nil, fmt.Errorf("the key %q, which signed it, was revoked", u.kid)
		case k.Alg != string(u.alg):
			return nil, fmt.Errorf("the key %q, which the token names, is for another algorithm", u.kid)
		case jwk != nil:
			return nil, fmt.Errorf("two of the given keys have the kid %q", u.kid)
		default:
			jwk = raw
		}
	}
	if jwk == nil {
		return nil, fmt.Errorf("none of the given keys has the kid %q of the token", u.kid)
	}
	return jwk, nil
}

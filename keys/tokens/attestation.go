package tokens

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keyward/keyward/keys"
)

// VerifyAttestation returns the payload of a compact JWS of a type, signed by the
// key of a JWK Set that its header names, with the algorithm of that key. It
// needs nothing but its arguments.
func VerifyAttestation(jws, typ string, set []byte) ([]byte, error) {
	u, err := parseToken(jws)
	if err != nil {
		return nil, err
	}
	if mediaType(u.typ) != mediaType(typ) {
		return nil, fmt.Errorf("its typ is not %s", typ)
	}
	jwk, err := u.attester(set)
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

// attester finds the key that the header names. One that was revoked, as a key history has
// it, attests nothing: whoever has it may have signed this.
func (u *unverified) attester(set []byte) (jwk json.RawMessage, err error) {
	var all struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(set, &all); err != nil || all.Keys == nil {
		return nil, errors.New("the keys given are no JWK Set")
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
			return nil, fmt.Errorf("the key %q, which is to have signed it, is for another algorithm", u.kid)
		case jwk != nil:
			return nil, fmt.Errorf("two of the keys given are %q", u.kid)
		default:
			jwk = raw
		}
	}
	if jwk == nil {
		return nil, fmt.Errorf("none of the keys given is %q, which is to have signed it", u.kid)
	}
	return jwk, nil
}

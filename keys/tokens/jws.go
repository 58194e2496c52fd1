package tokens

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/keyward/keyward/keys"
)

// Form is which of the compact forms a JWS takes. The zero value is the usual
// one.
type Form struct {
	Detached  bool // RFC 7515 appendix F: the payload is not in it
	Unencoded bool // RFC 7797: "b64": false, the payload is signed as it is
}

var errUnencodable = errors.New("keys: an unencoded payload that is not detached is printable ASCII without a dot")

// Sign makes a compact JWS (RFC 7515 section 5.1) over payload. head comes
// from [Header.Protect], with the same Unencoded. Errors wrap [ErrInvalid]
// where the payload cannot take the form.
func Sign(p keys.Private, head Protected, payload []byte, f Form) (string, error) {
	if f.Unencoded && !f.Detached && !printable(payload) {
		return "", fmt.Errorf("%w: %w", ErrInvalid, errUnencodable)
	}
	encoded := len(payload)
	if !f.Unencoded {
		encoded = base64.RawURLEncoding.EncodedLen(encoded)
	}
	size := p.SignatureSize()
	jws := make([]byte, 0, len(head)+encoded+2+base64.RawURLEncoding.EncodedLen(size))
	jws = append(append(jws, head...), '.')
	if f.Unencoded {
		jws = append(jws, payload...)
	} else {
		jws = base64.RawURLEncoding.AppendEncode(jws, payload)
	}
	signature, err := p.Sign(jws)
	if err != nil {
		return "", err
	}
	if f.Detached {
		jws = jws[:len(head)+1]
	}
	jws = append(jws, '.')
	return string(base64.RawURLEncoding.AppendEncode(jws, signature)), nil
}

// printable is what RFC 7797 section 5.2 lets through unencoded in the compact
// form.
func printable(payload []byte) bool {
	for _, c := range payload {
		if c < ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

package signing

import (
	"context"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/keys/tokens"
)

// PayloadOrder asks for a JWS over any payload.
type PayloadOrder struct {
	Payload []byte
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // empty: no typ
	Form    tokens.Form
}

// SignedPayload is a compact JWS.
type SignedPayload struct {
	JWS string
	KID string
	Alg jose.SignatureAlgorithm
}

// SignPayload signs a payload. One that is a JSON object with an exp is held
// to the rules of a token. A reserved typ is refused. Errors: those of
// SignToken.
func (s *Signer) SignPayload(ctx context.Context, ref string, o PayloadOrder) (signed SignedPayload, err error) {
	if err := tokens.CheckType(o.Typ); err != nil {
		return SignedPayload{}, err
	}
	err = s.atDesk(ctx, ref, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}

func (s *Signer) signPayload(ctx context.Context, d desk, o PayloadOrder) (SignedPayload, error) {
	p, err := d.Policy(o.Alg)
	if err != nil {
		return SignedPayload{}, err
	}
	exp, err := d.rules(p).CheckPayload(o.Payload)
	if err != nil {
		return SignedPayload{}, err
	}
	var expires time.Time
	if exp != nil {
		expires = *exp
	}
	jws, err := s.sign(ctx, d, p, tokens.Header{Typ: o.Typ}, o.Payload, o.Form, expires)
	return SignedPayload{JWS: jws, KID: p.ActiveKID, Alg: p.Alg}, err
}

package keys

import (
	"bytes"
	"context"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// PayloadOrder asks for a JWS over any payload.
type PayloadOrder struct {
	Payload []byte
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // empty: no typ
	Form    Form
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
	if err := notReserved(o.Typ); err != nil {
		return SignedPayload{}, err
	}
	err = s.atDesk(ctx, ref, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}

func (s *Signer) signPayload(ctx context.Context, d desk, o PayloadOrder) (SignedPayload, error) {
	p, err := d.policy(o.Alg)
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
	jws, err := s.sign(ctx, d, p, Header{Typ: o.Typ}, o.Payload, o.Form, expires)
	return SignedPayload{JWS: jws, KID: p.ActiveKID, Alg: p.Alg}, err
}

// lookalike refuses what is no JSON object to Go but may be one with an exp to
// a verifier more lenient than RFC 8259: behind a byte order mark, in UTF-16
// or UTF-32, with NaN in it, nested deeper than Go reads. Its error is a
// *[ClaimError].
func lookalike(payload []byte) error {
	text := bytes.ReplaceAll(payload, []byte{0}, nil)
	text = bytes.TrimLeft(text, "\xef\xbb\xbf\xff\xfe \t\r\n")
	names := bytes.Contains(bytes.ToLower(text), []byte("exp")) || bytes.Contains(text, []byte(`\u`))
	if bytes.HasPrefix(text, []byte("{")) && names {
		return invalid("payload", "looks like a JSON object with exp, but is none (RFC 8259: in UTF-8, without a byte order mark)")
	}
	return nil
}

package signing

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// PayloadOrder requests a JWS over any payload.
type PayloadOrder struct {
	Payload []byte
	Alg     jose.SignatureAlgorithm // empty: the default policy's
	Typ     string                  // empty: no typ
	Form    tokens.Form

	// Protected is a header of the caller, encoded; empty: Keyward makes it. It has its own
	// algorithm, typ and "b64", which then must not be given here.
	Protected string

	attested bool // it is a statement of Keyward's own
}

// SignedPayload is a compact JWS.
type SignedPayload struct {
	JWS string
	KID string
	Alg jose.SignatureAlgorithm
}

// SignPayload signs a payload. One that verifiers may accept as a token must obey the
// rules of tokens and have an exp; see [tokens.Rules.CheckPayload]. A reserved typ is
// rejected, and so is a caller's header with the kid of a key that does not sign. Errors:
// those of SignToken.
func (s *Signer) SignPayload(ctx context.Context, ref string, o PayloadOrder) (signed SignedPayload, err error) {
	if err := tokens.CheckType(o.Typ); err != nil {
		return SignedPayload{}, err
	}
	var own tokens.CallerHeader
	if o.Protected != "" {
		if own, err = tokens.ReadCallerHeader(o.Protected); err != nil {
			return SignedPayload{}, err
		}
		o.Alg, o.Typ, o.Form.Unencoded = own.Alg, own.Typ, own.Unencoded
	}
	var other error // the kid is not that of the active key
	err = s.signWithRetry(ctx, ref, func(d session) (err error) {
		if signed, err = s.signPayload(ctx, d, o, own); errors.Is(err, errOtherKID) {
			other = err
			return ErrNoActiveKey // until the snapshot is the newest: the key may have changed just now
		}
		other = nil
		return err
	})
	if other != nil && errors.Is(err, ErrNoActiveKey) {
		err = tokens.Forbidden("protected.kid", "must be that of the key that signs now: "+signed.KID)
	}
	return signed, err
}

// checkEventType refuses a SET of the platform's tenant in a caller's request: receivers
// of webhooks could take it for one of Keyward's. Errors: *tokens.ClaimError.
func (d session) checkEventType(typ string) error {
	if d.Slug == tenant.PlatformSlug && tokens.IsEventType(typ) {
		return tokens.Invalid("typ", "must be another one: the platform's Security Event Tokens are for what Keyward itself attests")
	}
	return nil
}

// errOtherKID means that the header of a caller names a key that does not sign.
var errOtherKID = errors.New("keys: the header names another key")

// signPayload signs a payload under a header of Keyward or, unless it is zero, own.
func (s *Signer) signPayload(ctx context.Context, d session, o PayloadOrder, own tokens.CallerHeader) (SignedPayload, error) {
	p, err := d.Policy(o.Alg)
	if err != nil {
		return SignedPayload{}, err
	}
	var expires time.Time
	if !o.attested { // an attestation is no token, and may last
		if err := d.checkEventType(o.Typ); err != nil {
			return SignedPayload{}, err
		}
		exp, err := d.tokenRules(p).CheckPayload(o.Payload, o.Typ, o.Form)
		if err != nil {
			return SignedPayload{}, err
		}
		if exp != nil {
			expires = *exp
		}
	}
	signed := SignedPayload{KID: p.ActiveKID, Alg: p.Alg}
	if own.Protected == "" {
		signed.JWS, err = s.signJWS(ctx, d, p, tokens.Header{Typ: o.Typ}, o.Payload, o.Form, expires)
		return signed, err
	}
	switch {
	case p.ActiveKID == "":
		return SignedPayload{}, ErrNoActiveKey
	case own.KID != p.ActiveKID:
		return signed, errOtherKID
	}
	signed.JWS, err = s.signProtected(ctx, d, p, own.Protected, o.Payload, o.Form, expires)
	return signed, err
}

package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// The bodies of these operations are not held against the document, see
// handDecoded: what it says of them beyond their types is said here again.

var typPattern = regexp.MustCompile(`^[A-Za-z0-9!#$&^_.+/-]{1,127}$`)

// SignToken signs a JWT.
func (s *server) SignToken(c echo.Context, _ TenantPath) error {
	body, err := readBody(c.Request())
	if err != nil {
		return err
	}
	order, plain := plainOrder(body)
	token, err := signOrder(body, order, plain, func(o signing.Order) (signing.Token, error) {
		return s.cfg.Signer.SignToken(c.Request().Context(), of(c).tenantID.String(), o)
	})
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, append(token, '\n'))
}

// signOrder makes a [SignedToken] of a body; the order is what is in that, where
// it is plain.
func signOrder(body []byte, order signing.Order, plain bool, sign signing.SignFunc) ([]byte, error) {
	if !plain {
		var err error
		if order, err = decodeOrder(body); err != nil {
			return nil, err
		}
	}
	t, err := sign(order)
	if err != nil {
		return nil, better(plain, body, err)
	}
	return appendToken(make([]byte, 0, 128+len(t.Token)+len(t.KID)), t), nil
}

// better is why an order was refused: for a body that seemed plain what only
// decodeStrict sees in it, such as a member of the claims that is there twice.
func better(plain bool, body []byte, err error) error {
	if !plain {
		return err
	}
	if _, wrong := decodeOrder(body); wrong != nil {
		return wrong
	}
	return err
}

// decodeOrder reads any body, and says what is wrong with it.
func decodeOrder(body []byte) (signing.Order, error) {
	if len(body) == 0 {
		return signing.Order{}, errNoBody()
	}
	var r SignTokenRequest
	if err := decodeStrict(body, &r); err != nil {
		return signing.Order{}, err
	}
	return r.order()
}

func (r SignTokenRequest) order() (o signing.Order, err error) {
	if err := checkForm(r.Alg, r.Typ); err != nil {
		return o, err
	}
	if or(r.TTLSeconds, 1) < 1 {
		return o, invalid("ttl_seconds", "must be at least 1")
	}
	o = signing.Order{
		Request: tokens.Request{Claims: json.RawMessage(r.Claims), TTLSeconds: r.TTLSeconds, NotBefore: or(r.Nbf, false)},
		Alg:     jose.SignatureAlgorithm(or(r.Alg, "")), Typ: or(r.Typ, ""),
	}
	if r.Headers != nil {
		err = json.Unmarshal(*r.Headers, &o.Headers)
	}
	return o, err
}

func checkForm(alg *Alg, typ *string) error {
	switch {
	case alg != nil && !alg.Valid():
		return invalid("alg", "must be one of: "+joinAlgs())
	case typ != nil && !typPattern.MatchString(*typ):
		return invalid("typ", "must match "+typPattern.String())
	}
	return nil
}

func joinAlgs() string {
	names := make([]any, len(tenant.Algorithms))
	for i, alg := range tenant.Algorithms {
		names[i] = alg
	}
	return joined(names)
}

// SignPayload signs a JWS over any payload.
func (s *server) SignPayload(c echo.Context, _ TenantPath) error {
	var body SignPayloadRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if err := checkForm(body.Alg, body.Typ); err != nil {
		return err
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(body.Payload)
	if err != nil {
		return invalid("payload", "must be base64url without padding (RFC 7515 section 2)")
	}
	signed, err := s.cfg.Signer.SignPayload(c.Request().Context(), of(c).tenantID.String(), signing.PayloadOrder{
		Payload: payload, Alg: jose.SignatureAlgorithm(or(body.Alg, "")), Typ: or(body.Typ, ""),
		Form: tokens.Form{Detached: or(body.Detached, false), Unencoded: !or(body.B64, true)},
	})
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, SignedPayload{Jws: signed.JWS, KID: signed.KID, Alg: Alg(signed.Alg)})
}

// VerifyToken says whether a token is valid, and if not, why.
func (s *server) VerifyToken(c echo.Context, _ TenantPath) error {
	var body VerifyTokenRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	v, err := s.cfg.Signer.Verify(c.Request().Context(), of(c).tenantID.String(), signing.Inquiry{
		Token: body.Token, Audience: or(body.Audience, ""), Issuer: or(body.Issuer, ""), Type: or(body.Typ, ""),
	})
	var refused *tokens.VerifyError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	out := VerifyTokenResult{Valid: err == nil, KID: given(v.KID), KeyState: given(KeyState(v.State))}
	if v.Header != nil {
		out.Header = ptr(JSONObject(v.Header))
	}
	if v.Claims != nil {
		out.Claims = ptr(JSONObject(v.Claims))
	}
	if refused != nil {
		out.Code, out.Detail = ptr(VerifyCode(refused.Code)), ptr(refused.Detail)
	}
	return reply(c, http.StatusOK, out)
}

func (r VerifyTokenRequest) check() error {
	for _, m := range []struct {
		name  string
		value *string
	}{{"token", &r.Token}, {"audience", r.Audience}, {"issuer", r.Issuer}, {"typ", r.Typ}} {
		if m.value != nil && *m.value == "" {
			return invalid(m.name, "must not be empty")
		}
	}
	return nil
}

package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// tokenServer answers the operations that sign and verify.
type tokenServer struct {
	cfg     *Config
	metrics *metrics
}

// The bodies of these operations are not validated against the document (see
// handDecoded), so its rules beyond the types are repeated here.

var typPattern = regexp.MustCompile(`^[A-Za-z0-9!#$&^_.+/-]{1,127}$`)

// refuseOverload answers 503 before a request's body is read, if its signature or
// verification would be refused: what is refused must cost little.
func (s *tokenServer) refuseOverload(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.cfg.Signer.CheckLoad(callOf(c).tenantID); err != nil {
			return err
		}
		return next(c)
	}
}

// SignToken signs a JWT.
func (s *tokenServer) SignToken(c echo.Context, _ TenantPath) error {
	body, err := readBody(c.Request())
	if err != nil {
		return err
	}
	order, err := readOrder(body)
	if err != nil {
		return err
	}
	token, err := s.cfg.Signer.SignToken(c.Request().Context(), callOf(c).tenantID.String(), order)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, append(appendToken(nil, token), '\n'))
}

// readOrder decodes a SignTokenRequest. Most bodies need only one pass of the
// tokenizer; decodeOrder reads the others, and names their first fault.
func readOrder(body []byte) (signing.Order, error) {
	if order, ok := quickOrder(body); ok {
		return order, nil
	}
	return decodeOrder(body)
}

// quickOrder reads a SignTokenRequest without headers and without reflection,
// which takes a quarter of the time. It reports false for any fault, duplicate members
// too, which decodeOrder then names.
func quickOrder(body []byte) (o signing.Order, ok bool) {
	ok = quickObject(body, func(name string, raw jsontext.Value) bool { return setMember(&o, name, raw) })
	return o, ok && o.Claims != nil
}

// quickObject gives set each member of the object that a body is, in one pass of the
// tokenizer. It reports false for any fault, duplicate members too, and if set does.
func quickObject(body []byte, set func(name string, raw jsontext.Value) bool) bool {
	dec := borrowDecoder(body)
	defer decoders.Put(dec)
	if !readKind(dec, '{') {
		return false
	}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return false
		}
		name := token.String()
		if raw := strictjson.ReadRaw(dec, body); raw == nil || !set(name, raw) {
			return false
		}
	}
	return readKind(dec, '}') && strictjson.AtEnd(dec)
}

func setMember(o *signing.Order, name string, raw jsontext.Value) bool {
	switch name {
	case "claims":
		o.Claims = jsontext.Value(raw)
		return raw.Kind() == '{'
	case "alg":
		alg := Alg(plainString(raw))
		o.Alg = jose.SignatureAlgorithm(alg)
		return alg.Valid()
	case "typ":
		o.Typ = plainString(raw)
		return typPattern.MatchString(o.Typ)
	case "profile":
		o.Profile = tokens.Profile(plainString(raw))
		return o.Profile != "" && o.Profile.Valid()
	case "ttl_seconds":
		ttl, err := strconv.ParseInt(string(raw), 10, 64)
		o.TTLSeconds = &ttl
		return err == nil && ttl >= 1
	case "nbf":
		o.NotBefore = raw.Kind() == 't'
		return raw.Kind() == 't' || raw.Kind() == 'f'
	}
	return false
}

// plainString returns a JSON string without escapes; "" for any other value.
func plainString(raw jsontext.Value) string {
	if raw.Kind() != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return ""
	}
	return string(raw[1 : len(raw)-1])
}

// decodeOrder reads any SignTokenRequest, and names its first fault.
func decodeOrder(body []byte) (signing.Order, error) {
	if len(body) == 0 {
		return signing.Order{}, errNoBody()
	}
	var r SignTokenRequest
	if err := decodeStrict(body, &r); err != nil {
		return signing.Order{}, err
	}
	return r.toOrder()
}

func (r SignTokenRequest) toOrder() (o signing.Order, err error) {
	if err := checkForm(r.Alg, r.Typ); err != nil {
		return o, err
	}
	if r.Profile != nil && !r.Profile.Valid() {
		return o, invalidField("profile", "must be one of: access_token, id_token")
	}
	o = signing.Order{
		Request: tokens.Request{
			Claims: json.RawMessage(r.Claims), TTLSeconds: r.TTLSeconds, NotBefore: valueOr(r.Nbf, false), Profile: tokens.Profile(valueOr(r.Profile, "")),
		},
		Alg: jose.SignatureAlgorithm(valueOr(r.Alg, "")), Typ: valueOr(r.Typ, ""),
	}
	if r.Headers != nil {
		err = json.Unmarshal(*r.Headers, &o.Headers)
	}
	return o, err
}

func checkForm(alg *Alg, typ *string) error {
	switch {
	case alg != nil && !alg.Valid():
		return invalidField("alg", "must be one of: "+joinAlgs())
	case typ != nil && !typPattern.MatchString(*typ):
		return invalidField("typ", "must match "+typPattern.String())
	}
	return nil
}

func joinAlgs() string {
	names := make([]any, len(tenant.Algorithms))
	for i, alg := range tenant.Algorithms {
		names[i] = alg
	}
	return joinValues(names)
}

// SignPayload signs a JWS over any payload.
func (s *tokenServer) SignPayload(c echo.Context, _ TenantPath) error {
	var body SignPayloadRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if err := checkForm(body.Alg, body.Typ); err != nil {
		return err
	}
	if body.Protected != nil && (body.Alg != nil || body.Typ != nil || body.B64 != nil) {
		return invalidField("protected", "must not be given beside alg, typ or b64, which are in it")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(body.Payload)
	if err != nil {
		return invalidField("payload", "must be base64url without padding (RFC 7515 section 2)")
	}
	signed, err := s.cfg.Signer.SignPayload(c.Request().Context(), callOf(c).tenantID.String(), signing.PayloadOrder{
		Payload: payload, Alg: jose.SignatureAlgorithm(valueOr(body.Alg, "")), Typ: valueOr(body.Typ, ""),
		Form:      tokens.Form{Detached: valueOr(body.Detached, false), Unencoded: !valueOr(body.B64, true)},
		Protected: valueOr(body.Protected, ""),
	})
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, SignedPayload{Jws: signed.JWS, KID: signed.KID, Alg: Alg(signed.Alg)})
}

// VerifyToken verifies a token. An invalid token is answered with 200 and the
// reason.
func (s *tokenServer) VerifyToken(c echo.Context, _ TenantPath) error {
	body, err := readVerification(c)
	if err != nil {
		return err
	}
	if err := body.checkEmpty(); err != nil {
		return err
	}
	if valueOr(body.AnyIssuer, false) && body.Issuer != nil {
		return invalidField("any_issuer", "must not be true beside issuer")
	}
	v, err := s.cfg.Signer.Verify(c.Request().Context(), callOf(c).tenantID.String(), signing.VerifyRequest{
		Token: body.Token, Audience: valueOr(body.Audience, ""), Issuer: valueOr(body.Issuer, ""), Type: valueOr(body.Typ, ""),
		AnyIssuer: valueOr(body.AnyIssuer, false), Algorithms: body.Algorithms, Required: body.RequiredClaims,
	})
	var refused *tokens.VerifyError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	out := VerifyTokenResult{Valid: err == nil, KID: nonZero(v.KID), KeyState: nonZero(KeyState(v.State))}
	if v.Header != nil {
		out.Header = new(JSONObject(v.Header))
	}
	if v.Claims != nil {
		out.Claims = new(JSONObject(v.Claims))
	}
	if refused != nil {
		out.Code, out.Detail = new(VerifyCode(refused.Code)), new(refused.Detail)
	}
	s.metrics.countVerification(valueOr(out.Code, ""))
	answer, err := encodeVerdict(out)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, answer)
}

// readVerification decodes a VerifyTokenRequest. Most need only one pass of the tokenizer.
func readVerification(c echo.Context) (r VerifyTokenRequest, err error) {
	body, err := readBody(c.Request())
	if err != nil {
		return r, err
	}
	if len(body) == 0 {
		return r, errNoBody()
	}
	if r, ok := quickVerification(body); ok {
		return r, nil
	}
	return r, decodeStrict(body, &r)
}

// quickVerification reads a VerifyTokenRequest of plain strings. It reports false for any
// other member and any fault, which decodeStrict then names.
func quickVerification(body []byte) (r VerifyTokenRequest, ok bool) {
	ok = quickObject(body, func(name string, raw jsontext.Value) bool {
		value := plainString(raw)
		switch name {
		case "token":
			r.Token = value
		case "audience":
			r.Audience = &value
		case "issuer":
			r.Issuer = &value
		case "typ":
			r.Typ = &value
		default:
			return false
		}
		return value != ""
	})
	return r, ok && r.Token != ""
}

func (r VerifyTokenRequest) checkEmpty() error {
	for _, m := range []struct {
		name  string
		value *string
	}{{"token", &r.Token}, {"audience", r.Audience}, {"issuer", r.Issuer}, {"typ", r.Typ}} {
		if m.value != nil && *m.value == "" {
			return invalidField(m.name, "must not be empty")
		}
	}
	return nil
}

// encodeVerdict encodes a result as encodeJSON does. A valid token's is written without
// reflection; its header and claims have been checked, and need no second reading.
func encodeVerdict(r VerifyTokenResult) ([]byte, error) {
	if !r.Valid || r.Claims == nil || r.Header == nil || !isCompact(*r.Claims) || !isCompact(*r.Header) {
		return encodeJSON(r)
	}
	out := make([]byte, 0, len(*r.Claims)+len(*r.Header)+len(*r.KID)+128)
	out = append(append(out, `{"claims":`...), *r.Claims...)
	out = append(append(out, `,"header":`...), *r.Header...)
	out = tokens.AppendQuoted(append(out, `,"key_state":`...), string(*r.KeyState))
	out = tokens.AppendQuoted(append(out, `,"kid":`...), *r.KID)
	return append(out, ",\"valid\":true}\n"...), nil
}

// isCompact reports whether an object has no space at all; one inside of a string also
// counts.
func isCompact(o JSONObject) bool { return !bytes.ContainsAny(o, " \t\r\n") }

// appendToken writes a [SignedToken] as encoding/json would. An
// algorithm and a compact JWS have nothing to escape.
func appendToken(dst []byte, t signing.Token) []byte {
	dst = slices.Grow(dst, 128+len(t.Token)+len(t.KID))
	dst = append(append(dst, `{"alg":"`...), t.Alg...)
	dst = t.ExpiresAt.AppendFormat(append(dst, `","expires_at":"`...), time.RFC3339Nano)
	dst = t.IssuedAt.AppendFormat(append(dst, `","issued_at":"`...), time.RFC3339Nano)
	dst = tokens.AppendQuoted(append(dst, `","kid":`...), t.KID)
	return append(append(append(dst, `,"token":"`...), t.Token...), `"}`...)
}

package tokens

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// maxClaims bounds the claims of a token in bytes, so that what is signed can
// be verified too (see maxToken).
const maxClaims = 128 << 10

// Rules is what the platform holds a token to when it signs it.
type Rules struct {
	Issuer     string
	Now        time.Time
	Skew       time.Duration // how far a caller's clock may be off
	DefaultTTL time.Duration
	MaxTTL     time.Duration
}

// Request is what a caller wants in a token.
type Request struct {
	Claims     json.RawMessage // a JSON object; empty: no claims of its own
	TTLSeconds *int64
	NotBefore  bool // set nbf to iat, unless the claims bring one
}

// Claims is a JWT's payload, ready to sign.
type Claims struct {
	Payload   []byte
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Claims makes the payload of a token: iss, iat, exp, nbf if asked, and jti
// are the platform's, the rest is the caller's. What the caller says about
// them is checked, never overruled in silence; only an iat within the skew
// gives way to the platform's clock. A lifetime beyond the policy is refused,
// not clipped. Its error is a *[ClaimError].
func (r Rules) Claims(req Request) (Claims, error) {
	claims, err := parseClaims(req.Claims)
	if err != nil {
		return Claims{}, err
	}
	exp, err := r.expiry(claims, req.TTLSeconds)
	if err != nil {
		return Claims{}, err
	}
	if err := r.registered("claims.", claims, exp); err != nil {
		return Claims{}, err
	}
	payload, err := r.render(claims, exp, req.NotBefore)
	return Claims{payload, time.Unix(r.Now.Unix(), 0).UTC(), time.Unix(exp, 0).UTC()}, err
}

// CheckPayload holds a payload that is a JSON object with an exp to the rules
// of a token, since a verifier could take it for one. It returns that exp, nil
// for any other payload. Its error is a *[ClaimError].
func (r Rules) CheckPayload(payload []byte) (*time.Time, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal(payload, &object) != nil {
		return nil, lookalike(payload)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(object)), isExp) {
		return nil, nil
	}
	claims, err := ParseObject(payload)
	if err != nil {
		return nil, Invalid("payload", err.Error())
	}
	if err := misspelt("payload.", claims); err != nil {
		return nil, err
	}
	exp, err := r.ownExpiry("payload.exp", claims["exp"])
	if err != nil {
		return nil, err
	}
	at := time.Unix(exp, 0).UTC()
	return &at, r.registered("payload.", claims, exp)
}

// expiry is the exp of the token in seconds.
func (r Rules) expiry(claims map[string]json.RawMessage, ttl *int64) (int64, error) {
	longest, seconds := int64(r.MaxTTL/time.Second), int64(r.DefaultTTL/time.Second)
	if ttl != nil {
		seconds = *ttl
		if seconds < 1 {
			return 0, Invalid("ttl_seconds", "is at least 1")
		}
		if seconds > longest {
			return 0, Forbidden("ttl_seconds", "is longer than the policy's max_token_ttl_seconds, "+strconv.FormatInt(longest, 10))
		}
	}
	raw, own := claims["exp"]
	if !own {
		return r.Now.Unix() + seconds, nil
	}
	exp, err := r.ownExpiry("claims.exp", raw)
	if off := exp - r.Now.Unix() - seconds; err == nil && ttl != nil && max(off, -off) > int64(r.Skew/time.Second) {
		return 0, Invalid("claims.exp", "contradicts ttl_seconds")
	}
	return exp, err
}

func (r Rules) ownExpiry(field string, raw json.RawMessage) (int64, error) {
	exp, problem := numericDate(raw)
	longest := int64(r.MaxTTL / time.Second)
	switch {
	case problem != "":
		return 0, Invalid(field, problem)
	case exp <= r.Now.Unix():
		return 0, Forbidden(field, "is in the past")
	case exp > r.Now.Unix()+longest:
		return 0, Forbidden(field, "is later than the policy's max_token_ttl_seconds allows, "+strconv.FormatInt(longest, 10)+" from now")
	}
	return exp, nil
}

// render writes the platform's claims first, then the caller's by name.
func (r Rules) render(claims map[string]json.RawMessage, exp int64, notBefore bool) ([]byte, error) {
	out := appendText(append(make([]byte, 0, 512), '{'), "iss", r.Issuer)
	out = strconv.AppendInt(appendName(out, "iat"), r.Now.Unix(), 10)
	out = strconv.AppendInt(appendName(out, "exp"), exp, 10)
	if _, own := claims["nbf"]; notBefore && !own {
		out = strconv.AppendInt(appendName(out, "nbf"), r.Now.Unix(), 10)
	}
	if _, own := claims["jti"]; !own {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		out = appendText(out, "jti", id.String())
	}
	names := make([]string, 0, 16)
	for name := range claims {
		if name != "iss" && name != "iat" && name != "exp" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		out = appendMember(out, name, claims[name])
	}
	return append(out, '}'), nil
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
		return Invalid("payload", "looks like a JSON object with exp, but is none (RFC 8259: in UTF-8, without a byte order mark)")
	}
	return nil
}

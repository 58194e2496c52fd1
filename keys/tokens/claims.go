package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/strictjson"
)

// maxClaims bounds the claims of a token in bytes, so that what is signed can
// be verified too (see maxToken).
const maxClaims = 128 << 10

// Rules are the constraints on tokens that are signed.
type Rules struct {
	Issuer     string
	Now        time.Time
	Skew       time.Duration // how far a caller's clock may be off
	DefaultTTL time.Duration
	MaxTTL     time.Duration

	// Expired allows tokens that have expired already, with which tests see how a service
	// treats them: a negative lifetime, or an exp in the past.
	Expired bool
}

// Request is a caller's request for a token.
type Request struct {
	Claims     json.RawMessage // a JSON object; empty: no claims of its own
	TTLSeconds *int64
	NotBefore  bool // set nbf to iat, unless the claims bring one
	Profile    Profile
}

// Claims is a JWT's payload, ready to sign.
type Claims struct {
	Payload   []byte
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Claims returns the payload of a token. iss, iat, exp, jti and, on request,
// nbf are set by the platform; the other claims are the caller's. Claims of the
// caller that contradict the platform's are refused, except for an iat within
// the skew, which the platform's replaces. A lifetime above the policy's
// maximum is refused, not shortened. Errors: *[ClaimError].
func (r Rules) Claims(req Request) (Claims, error) {
	claims, err := parseClaims(req.Claims)
	if err != nil {
		return Claims{}, err
	}
	exp, err := r.tokenExpiry(claims, req.TTLSeconds)
	if err != nil {
		return Claims{}, err
	}
	if err := r.checkRegistered("claims.", claims, exp); err != nil {
		return Claims{}, err
	}
	if err := req.Profile.checkClaims(claims); err != nil {
		return Claims{}, err
	}
	iat := r.issuedAt(exp)
	payload, err := r.renderPayload(claims, iat, exp, req.NotBefore)
	return Claims{payload, time.Unix(iat, 0).UTC(), time.Unix(exp, 0).UTC()}, err
}

// issuedAt returns the iat of a token: the present or, for one that has expired, as long
// before exp as a token lives by default.
func (r Rules) issuedAt(exp int64) int64 {
	if exp > r.Now.Unix() {
		return r.Now.Unix()
	}
	return max(0, exp-int64(r.DefaultTTL/time.Second))
}

// tokenExpiry returns the token's exp in seconds since 1970.
func (r Rules) tokenExpiry(claims map[string]json.RawMessage, ttl *int64) (int64, error) {
	longest, seconds := int64(r.MaxTTL/time.Second), int64(r.DefaultTTL/time.Second)
	if ttl != nil {
		seconds = *ttl
		if seconds == 0 || seconds < 0 && !r.Expired || seconds < -maxDate {
			return 0, Invalid("ttl_seconds", "must be at least 1")
		}
		if seconds > longest {
			return 0, Forbidden("ttl_seconds", "is longer than the policy's max_token_ttl_seconds, "+strconv.FormatInt(longest, 10))
		}
	}
	raw, own := claims["exp"]
	if !own {
		return max(0, r.Now.Unix()+seconds), nil
	}
	exp, err := r.callerExpiry("claims.exp", raw)
	if off := exp - r.Now.Unix() - seconds; err == nil && ttl != nil && max(off, -off) > int64(r.Skew/time.Second) {
		return 0, Invalid("claims.exp", "contradicts ttl_seconds")
	}
	return exp, err
}

// callerExpiry reads and checks the caller's exp.
func (r Rules) callerExpiry(field string, raw json.RawMessage) (int64, error) {
	exp, problem := numericDate(raw)
	longest := int64(r.MaxTTL / time.Second)
	switch {
	case problem != "":
		return 0, Invalid(field, problem)
	case exp <= r.Now.Unix() && !r.Expired:
		return 0, Forbidden(field, "is in the past")
	case exp > r.Now.Unix()+longest:
		return 0, Forbidden(field, "is later than the policy's max_token_ttl_seconds allows, "+strconv.FormatInt(longest, 10)+" from now")
	}
	return exp, nil
}

// renderPayload writes the platform's claims, then the caller's in the order of
// their names.
func (r Rules) renderPayload(claims map[string]json.RawMessage, iat, exp int64, notBefore bool) ([]byte, error) {
	out := appendStringMember(append(make([]byte, 0, 512), '{'), "iss", r.Issuer)
	out = strconv.AppendInt(appendName(out, "iat"), iat, 10)
	out = strconv.AppendInt(appendName(out, "exp"), exp, 10)
	if _, own := claims["nbf"]; notBefore && !own {
		out = strconv.AppendInt(appendName(out, "nbf"), iat, 10)
	}
	if _, own := claims["jti"]; !own {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		out = appendStringMember(out, "jti", id.String())
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

// checkRegistered checks the caller's registered claims (RFC 7519 section 4.1)
// except exp, whose value is passed. in is the prefix of field names in errors.
func (r Rules) checkRegistered(in string, claims map[string]json.RawMessage, exp int64) error {
	for name, raw := range claims {
		var err error
		switch name {
		case "iss":
			err = r.checkIssuer(in+name, raw)
		case "iat":
			err = r.checkIssuedAt(in+name, raw)
		case "nbf":
			err = checkNotBefore(in+name, raw, exp)
		case "sub", "jti":
			if s, ok := unquoteString(raw); !ok || s == "" {
				err = Invalid(in+name, "must be a non-empty string")
			}
		case "aud":
			if _, ok := parseAudience(raw); !ok {
				err = Invalid(in+name, "must be a string or an array of strings")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r Rules) checkIssuer(field string, raw json.RawMessage) error {
	iss, ok := unquoteString(raw)
	if !ok {
		return Invalid(field, "must be a string")
	}
	if iss != r.Issuer {
		return Forbidden(field, "is not the tenant's issuer")
	}
	return nil
}

func (r Rules) checkIssuedAt(field string, raw json.RawMessage) error {
	iat, problem := numericDate(raw)
	if problem != "" {
		return Invalid(field, problem)
	}
	if off := iat - r.Now.Unix(); max(off, -off) > int64(r.Skew/time.Second) {
		return Forbidden(field, "must be the present time, or be left out")
	}
	return nil
}

func checkNotBefore(field string, raw json.RawMessage, exp int64) error {
	nbf, problem := numericDate(raw)
	if problem != "" {
		return Invalid(field, problem)
	}
	if nbf >= exp {
		return Invalid(field, "must be before exp")
	}
	return nil
}

// maxDate is later than seconds reach for 3,000 years, and earlier than
// milliseconds since 1973.
const maxDate = 1e11

// numericDate reads whole seconds since 1970 (RFC 7519 section 2). problem
// describes an invalid value.
func numericDate(raw json.RawMessage) (seconds int64, problem string) {
	number, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil || !json.Valid(raw):
		return 0, "must be a number of seconds since 1970"
	case number > maxDate:
		return 0, "must be in seconds; this looks like milliseconds"
	case number < 0 || number != math.Trunc(number):
		return 0, "must be a whole number of seconds since 1970"
	}
	return int64(number), ""
}

// unquoteString returns the value of a valid JSON string, and false for any
// other value.
func unquoteString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 { // the usual case, without a decoder
		return string(raw[1 : len(raw)-1]), true
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// parseAudience reads an "aud", a string or an array of strings (RFC 7519
// section 4.1.3).
func parseAudience(raw json.RawMessage) ([]string, bool) {
	if one, ok := unquoteString(raw); ok {
		return []string{one}, true
	}
	var items []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	many := make([]string, 0, len(items))
	for _, item := range items {
		one, ok := unquoteString(item)
		if !ok {
			return nil, false
		}
		many = append(many, one)
	}
	return many, true
}

// Errors of requests to sign or to import; test with errors.Is. The error itself
// is a *[ClaimError].
var (
	ErrInvalid = errors.New("keys: invalid request")    // malformed or contradictory
	ErrPolicy  = errors.New("keys: against the policy") // valid, but not allowed
)

// ClaimError names the refused part of a request to sign or to import. Its
// message never repeats the value.
type ClaimError struct {
	Field   string // as in the request: claims.exp, ttl_seconds, payload, public_key.keys[2].crv
	Message string
	rule    error
}

// Error returns the field and its fault.
func (e *ClaimError) Error() string { return "keys: " + e.Field + " " + e.Message }

// Unwrap returns [ErrInvalid] or [ErrPolicy].
func (e *ClaimError) Unwrap() error { return e.rule }

// Invalid returns a *[ClaimError] that wraps [ErrInvalid].
func Invalid(field, message string) error {
	return &ClaimError{Field: field, Message: message, rule: ErrInvalid}
}

// Forbidden returns a *[ClaimError] that wraps [ErrPolicy].
func Forbidden(field, message string) error {
	return &ClaimError{Field: field, Message: message, rule: ErrPolicy}
}

func parseClaims(raw []byte) (map[string]json.RawMessage, error) {
	if len(raw) == 0 {
		return map[string]json.RawMessage{}, nil
	}
	if len(raw) > maxClaims {
		return nil, Invalid("claims", "must be at most "+strconv.Itoa(maxClaims)+" bytes")
	}
	claims, err := strictjson.ParseObject(raw)
	if err != nil {
		return nil, Invalid("claims", err.Error())
	}
	return claims, refuseMisspelt("claims.", claims)
}

// refuseMisspelt refuses names such as "EXP", which parsers that ignore case,
// like Go's, take for the registered claim.
func refuseMisspelt(in string, claims map[string]json.RawMessage) error {
	for name := range claims {
		if utf8.RuneCountInString(name) != 3 { // some fold to fewer bytes: ſ is an s
			continue
		}
		for _, known := range registered {
			if name != known && strings.EqualFold(name, known) {
				return Invalid(in+name, "differs from "+known+" only in case")
			}
		}
	}
	return nil
}

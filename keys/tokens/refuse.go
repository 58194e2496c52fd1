package tokens

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Why a request to sign or to import was refused; test with errors.Is. The
// error itself is a *[ClaimError].
var (
	ErrInvalid = errors.New("keys: invalid request")    // it makes no sense
	ErrPolicy  = errors.New("keys: against the policy") // it does, but is not allowed
)

// ClaimError says which part of a request to sign or to import was refused.
// Its message never repeats the value.
type ClaimError struct {
	Field   string // as in the request: claims.exp, ttl_seconds, payload, public_key.keys[2].crv
	Message string
	rule    error
}

// Error names the field and says what is wrong with it.
func (e *ClaimError) Error() string { return "keys: " + e.Field + " " + e.Message }

// Unwrap is [ErrInvalid] or [ErrPolicy].
func (e *ClaimError) Unwrap() error { return e.rule }

func Invalid(field, message string) error {
	return &ClaimError{Field: field, Message: message, rule: ErrInvalid}
}

func Forbidden(field, message string) error {
	return &ClaimError{Field: field, Message: message, rule: ErrPolicy}
}

func isExp(name string) bool { return strings.EqualFold(name, "exp") }

func parseClaims(raw []byte) (map[string]json.RawMessage, error) {
	if len(raw) == 0 {
		return map[string]json.RawMessage{}, nil
	}
	if len(raw) > maxClaims {
		return nil, Invalid("claims", "are longer than "+strconv.Itoa(maxClaims)+" bytes")
	}
	claims, err := ParseObject(raw)
	if err != nil {
		return nil, Invalid("claims", err.Error())
	}
	return claims, misspelt("claims.", claims)
}

// misspelt refuses "EXP" and the like: JSON parsers that ignore case, Go's own
// among them, would take it for the registered claim.
func misspelt(in string, claims map[string]json.RawMessage) error {
	for name := range claims {
		if utf8.RuneCountInString(name) != 3 { // some fold to fewer bytes: ſ is an s
			continue
		}
		for _, known := range [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"} {
			if name != known && strings.EqualFold(name, known) {
				return Invalid(in+name, "differs from "+known+" only in case")
			}
		}
	}
	return nil
}
